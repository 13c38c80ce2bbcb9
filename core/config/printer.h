// A value tree as YAML for people, as help, and as JSON Schema for editors.
#pragma once

#include <string>

#include "core/config/value.h"

namespace tessera {

enum class Comments { none, help };

namespace fields {

// Every key in the order of the visit lines; reads back to the same values.
std::string to_yaml(const Section& root, Comments comments);

// One line a key: name, what it takes, its present value, help.
std::string help_text(const Section& root);

// JSON Schema, draft 2020-12; the present values are the defaults.
std::string json_schema(const Section& root, const std::string& title);

}  // namespace fields
}  // namespace tessera
