// What to say about a key that does not exist.
#pragma once

#include <string>

#include "core/config/value.h"

namespace tessera::fields {

// "unknown key; did you mean optimizer.lr?": the nearest name in `section`, whose key is
// `section_key`, or else the key of that name in another section below `root`.
std::string unknown_key(const Section& root, const Section& section, const std::string& section_key,
                        const std::string& name);

// The names of the section's fields: "lr, beta1, beta2".
std::string field_names(const Section& section);

}  // namespace tessera::fields
