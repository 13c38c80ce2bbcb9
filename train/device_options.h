// The option --device of programs that read no configuration.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "train/config.h"

namespace tessera {

inline void add_device_option(CLI::App& app, RunSection& run) {
  std::vector<std::string> names;
  for (const auto& row : enum_names(DeviceChoice{})) names.emplace_back(row.name);
  app.add_option_function<std::string>(
         "--device",
         [&run](const std::string& name) {
           for (const auto& row : enum_names(DeviceChoice{}))
             if (row.name == name) run.device = row.value;
         },
         "where to compute; auto: cuda where there is a GPU, else cpu")
      ->check(CLI::IsMember(names))
      ->default_str("auto");
}

}  // namespace tessera
