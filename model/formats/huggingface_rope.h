// The part of a config.json that says how positions turn queries and keys.
#pragma once

#include "kernels/rope/config.h"
#include "model/formats/json_object.h"

namespace tessera {

// From rope_parameters (transformers 5), or rope_theta and rope_scaling (4). Error naming the key.
// `context` is max_position_embeddings.
RopeConfig read_huggingface_rope(const JsonObject& config, int64_t context);

// Sets rope_theta and rope_scaling, which both versions read. Not for ntk.
void write_huggingface_rope(nlohmann::ordered_json& config, const RopeConfig& rope);

}  // namespace tessera
