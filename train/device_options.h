// The options --device, --threads and --precision of programs that read no configuration.
#pragma once

#include "core/program/choice_option.h"
#include "train/config.h"

namespace tessera {

inline void add_device_options(CLI::App& app, RunSection& run) {
  std::vector<std::pair<std::string, DeviceChoice>> devices;
  for (const auto& row : enum_names(DeviceChoice{})) devices.emplace_back(row.name, row.value);
  add_choice(app, "--device", run.device, devices,
             "where to compute; auto: cuda where there is a GPU, else cpu");
  app.add_option("--threads", run.threads, "0: one for each core")->check(CLI::Range(0, 4096));
}

inline void add_precision_option(CLI::App& app, DType& precision) {
  add_choice(app, "--precision", precision, {{"fp32", DType::f32}, {"bf16", DType::bf16}},
             "of weights and activations");
}

}  // namespace tessera
