// Settings of a model in the metadata of a GGUF file.
#pragma once

#include "model/formats/gguf_file.h"
#include "model/formats/huggingface_config.h"

namespace tessera {

inline constexpr const char* kRopeFactors = "rope_freqs.weight";
inline constexpr const char* kOwnTokenizerKey = "tessera.tokenizer";

// Error naming `where` and the key for what is missing, mistyped, out of range or unsupported.
PublishedConfig read_gguf_config(const GgufFile& file, const std::string& where);

// general.architecture and the keys of that architecture.
GgufMetadata gguf_config(const ModelConfig& model, const std::string& name);

// llama3 scaling has no keys: llama.cpp divides the frequency of each pair by one of these, [D/2].
// Empty for other scalings.
std::vector<float> rope_factors(const ModelConfig& model);

}  // namespace tessera
