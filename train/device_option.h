// The option --device of programs that read no configuration.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>

#include "train/config.h"

namespace tessera {

inline void add_device_option(CLI::App& app, RunSection& run) {
  std::map<std::string, DeviceChoice> names;
  for (const auto& row : enum_names(DeviceChoice{})) names[row.name] = row.value;
  app.add_option("--device", run.device,
                 "auto, cpu, cuda or simt; auto: cuda where there is a GPU, else cpu")
      ->transform(CLI::Transformer(names))
      ->check(CLI::IsMember(names));
}

}  // namespace tessera
