// A configuration with every kind of member, for the tests of core/config.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config/config.h"

namespace tessera::sample {

enum class Mode { fp32, bf16, fp8 };
constexpr auto enum_names(Mode) {
  return std::to_array<EnumName<Mode>>(
      {{Mode::fp32, "fp32"}, {Mode::bf16, "bf16"}, {Mode::fp8, "fp8", "needs CUDA"}});
}

struct Source {
  std::filesystem::path path;
  double weight = 1;
  void visit(auto&& v) {
    v("path", path, "token file", not_empty());
    v("weight", weight, "share", positive());
  }
};

struct Optimizer {
  double lr = 3e-4;
  float beta = 0.5f;
  void visit(auto&& v) {
    v("lr", lr, "peak learning rate", positive());
    v("beta", beta, "moving average", from_to_below(0, 1));
  }
};

struct Clip {
  double norm = 1;
  void visit(auto&& v) { v("norm", norm, "largest norm", positive()); }
};

struct Run {
  std::string name = "first";
  std::filesystem::path folder = "runs/first";
  uint64_t seed = 7;
  bool quiet = false;
  Mode mode = Mode::fp32;
  std::string size = "small";
  void visit(auto&& v) {
    v("name", name, "shown in logs", not_empty());
    v("folder", folder, "output");
    v("seed", seed, "of everything random");
    v("quiet", quiet, "print less");
    v("mode", mode, "arithmetic");
    v("size", size, "of the model", one_of({"small", "large"}));
  }
};

struct Data {
  std::vector<Source> train;
  std::vector<int> widths = {1, 2};
  std::optional<int> window;
  std::optional<Clip> clip;
  int64_t context = 1024;
  int8_t small = 3;
  void visit(auto&& v) {
    v("train", train, "files", not_empty());
    v("widths", widths, "sizes", positive());
    v("window", window, "reach", at_least(1));
    v("clip", clip, "limits");
    v("context", context, "tokens", tokens(2));
    v("small", small, "a byte");
  }
};

struct Config {
  Run run;
  Optimizer optimizer;
  Data data;
  void visit(auto&& v) {
    v("run", run, "who and where");
    v("optimizer", optimizer, "AdamW");
    v("data", data, "what to read");
  }
};

inline Config read(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  Config config;
  read_config(config, {"x.yaml", yaml}, overrides);
  return config;
}

// What the error says, or "no error".
inline std::string error_of(const std::string& yaml,
                            const std::vector<std::string>& overrides = {}) {
  try {
    read(yaml, overrides);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline std::string error_of_set(const std::string& assignment) {
  return error_of("run: {}", {assignment});
}

}  // namespace tessera::sample
