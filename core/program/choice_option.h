// An option that takes one of several names.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

namespace tessera {

// `value` holds the default. CLI11's own transformer would print the numbers of an enumeration in
// help and errors.
template <class T>
CLI::Option* add_choice(CLI::App& app, const std::string& option, T& value,
                        const std::vector<std::pair<std::string, T>>& choices,
                        const std::string& help) {
  std::vector<std::string> names;
  std::string standard;
  for (const auto& [name, meaning] : choices) {
    names.push_back(name);
    if (meaning == value) standard = name;
  }
  const auto choose = [&value, choices](const std::string& given) {
    for (const auto& [name, meaning] : choices)
      if (name == given) value = meaning;
  };
  return app.add_option_function<std::string>(option, choose, help)
      ->check(CLI::IsMember(names))
      ->default_str(standard);
}

}  // namespace tessera
