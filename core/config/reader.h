// YAML into a value tree: the only user of yaml-cpp.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/config/origin.h"
#include "core/config/value.h"

namespace tessera {

// YAML text with the name that errors call it by.
struct ConfigText {
  std::string name;
  std::string text;
};

// Reads a file of at most 1 MiB.
ConfigText load_config_text(const std::filesystem::path& path);

namespace fields {

// Sets what `text` gives, then what each override "section.key=value" gives, and says where each
// key came from. Throws Error with one line on anything unknown, mistyped, out of range or twice.
ConfigOrigins read(Section& root, const ConfigText& text,
                   const std::vector<std::string>& overrides);

}  // namespace fields
}  // namespace tessera
