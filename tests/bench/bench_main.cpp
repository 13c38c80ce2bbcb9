// bench: how fast this machine runs attention, linear layers and whole training steps.
#include <fmt/format.h>

#include <algorithm>

#include "core/program/program.h"
#include "kernels/launch/cpu/isa.h"
#include "tests/bench/benchmarks.h"
#include "train/device_options.h"
#include "train/setup.h"

namespace tessera::bench {
namespace {

struct Arguments {
  std::vector<std::string> dtypes = {"f32", "bf16"}, shapes = {"a", "b", "c"};
  std::string isa = "best";
  RunSection run;  // device and threads
  AttentionSettings attention;
  double seconds = 2;
  bool json = false, kernels = false;
};

Settings settings_of(const Arguments& arguments) {
  Settings settings;
  for (const std::string& dtype : arguments.dtypes) {
    settings.dtypes.push_back(dtype == "f32"   ? DType::f32
                              : dtype == "f16" ? DType::f16
                                               : DType::bf16);
  }
  settings.context = context_options(arguments.run);
  if (arguments.isa != "best") settings.context.isa = parse_isa(arguments.isa);
  return settings;
}

void declare_common(CLI::App& app, Arguments& arguments) {
  app.add_option("--dtype", arguments.dtypes, "f32, bf16; for attention on cuda and simt f16 too")
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "bf16", "f16"}))
      ->capture_default_str();
  add_device_options(app, arguments.run);
  app.add_option("--isa", arguments.isa, "best, avx2, avx512 or avx512_bf16")
      ->capture_default_str();
  app.add_option("--seconds", arguments.seconds, "of clean measurement for each figure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--json", arguments.json, "print one JSON object a figure");
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "Examples:\n  bench step --shape c --dtype bf16 --kernels\n"
      "  bench attention --length 2048,8192 --head-dim 64 --json");
}

void declare_attention(CLI::App& app, AttentionSettings& attention) {
  app.add_option("--length", attention.lengths,
                 "tokens of a sequence [512,2048,8192; on cuda 512 to 131072]")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--head-dim", attention.head_dims, "[64,128; on cuda 256 too]")
      ->delimiter(',')
      ->check(CLI::Range(1, 256));
  app.add_option("--heads", attention.heads, "[4; on cuda 2048 / head size]")
      ->check(CLI::Range(1, 4096));
  app.add_option("--kv-heads", attention.kv_heads, "[as many as heads]")
      ->check(CLI::Range(1, 4096));
  app.add_option("--tokens", attention.tokens,
                 "of all sequences together [one sequence; on cuda 16384, at least one sequence]")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--backend", attention.backends,
                 "flash, standard; on cuda also flash-atomics, which adds up dq by atomics, and "
                 "cudnn [all of the device's]")
      ->delimiter(',')
      ->check(CLI::IsMember({"flash", "flash-atomics", "standard", "cudnn"}));
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  using namespace tessera::bench;
  CLI::App app(
      "Measure this machine's speed at training, in GFLOP/s and as a share of its measured peak.",
      "bench");
  Arguments arguments;
  declare_common(app, arguments);
  CLI::App* attention =
      app.add_subcommand("attention", "attention by our kernels, whole matrices and cuDNN");
  declare_attention(*attention, arguments.attention);
  CLI::App* linear = app.add_subcommand("linear", "the linear layers of the step's shapes");
  CLI::App* memory = app.add_subcommand("memory", "kernels that move data, in shares of a copy");
  CLI::App* step = app.add_subcommand("step", "whole training steps");
  for (CLI::App* part : {linear, step}) {
    part->add_option("--shape", arguments.shapes,
                     "a (0.8M parameters), b (8.3M), c (33.7M), 1b (Llama 3.2 1B)")
        ->delimiter(',')
        ->check(CLI::IsMember({"a", "b", "c", "1b"}))
        ->capture_default_str();
  }
  step->add_flag("--kernels", arguments.kernels, "show where the time goes");
  return tessera::run_program(app, argc, argv, [&] {
    const Settings settings = settings_of(arguments);
    tessera::check(*attention || std::ranges::count(arguments.dtypes, "f16") == 0,
                   "f16 is for attention alone; use --dtype f32 or bf16");
    Stopwatch watch(settings.context, arguments.seconds);
    const Report report(arguments.json);
    if (*attention) bench_attention(settings, arguments.attention, watch, report);
    if (*linear) bench_linear(settings, arguments.shapes, watch, report);
    if (*memory) bench_memory(settings, watch, report);
    if (*step) bench_step(settings, arguments.shapes, arguments.kernels, watch, report);
  });
}
