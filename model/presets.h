// Published model shapes by name.
#pragma once

#include <string>
#include <vector>

namespace tessera {

struct ModelConfig;

// "custom" (all sizes given by hand), then every preset from small to large.
std::vector<std::string> preset_names();

// The published shape; "custom" is one with no sizes. Not completed: keys may still override it.
// Throws Error for a name that preset_names() does not have.
ModelConfig model_preset(const std::string& name);

}  // namespace tessera
