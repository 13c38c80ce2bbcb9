// Configuration structs: one `visit` line per key (core/config/value.h shows how) gives reading,
// overrides, printing, help and the schema.
#pragma once

#include <string>
#include <vector>

#include "core/config/bind.h"
#include "core/config/origin.h"
#include "core/config/printer.h"
#include "core/config/reader.h"

namespace tessera {

// Sets in `config` what the YAML text gives, then what each override "section.key=value" gives;
// other members keep their values. Throws Error, one line that names file, line (or --set) and key.
template <class Config>
ConfigOrigins read_config(Config& config, const ConfigText& text,
                          const std::vector<std::string>& overrides = {}) {
  fields::Section root = fields::bind_section(config);
  return fields::read(root, text, overrides);
}

// Every key, in the order of the visit lines; read_config() gives the same values back. Without
// comments it is the stable form that a checkpoint keeps.
template <class Config>
std::string to_yaml(Config config, Comments comments = Comments::none) {
  return fields::to_yaml(fields::bind_section(config), comments);
}

// One line a key: what it means, what it takes, its default.
template <class Config>
std::string config_help() {
  Config defaults;
  return fields::help_text(fields::bind_section(defaults));
}

// JSON Schema (draft 2020-12) of the YAML file.
template <class Config>
std::string config_schema(const std::string& title) {
  Config defaults;
  return fields::json_schema(fields::bind_section(defaults), title);
}

}  // namespace tessera
