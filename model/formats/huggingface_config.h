// config.json of Hugging Face transformers: its key of every setting that matters.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/formats/stored_tensor.h"

namespace tessera {

// Which of its classes computes what a configuration says. SmolLM2 is a llama.
enum class Architecture { llama, mistral, qwen2, qwen3 };
std::string_view name_of(Architecture architecture);

// Ids of tokens with a meaning to the model; what is not known is empty.
struct SpecialTokens {
  std::optional<int64_t> begin;
  std::vector<int64_t> end;
};

struct PublishedConfig {
  Architecture architecture = Architecture::llama;
  ModelConfig model;  // completed
  SpecialTokens tokens;
};

// Reads a config.json of transformers 4 or 5. Error, one line naming `where` and the key, for what
// is missing, mistyped, out of range or asks for something that this program does not compute.
PublishedConfig read_huggingface_config(std::string_view json, const std::string& where);

// The architecture that computes a configuration: qwen3 with qk_norm, qwen2 with qkv_bias, mistral
// with a sliding window, else llama. Error where none does.
Architecture architecture_of(const ModelConfig& model);

// The rope settings as files can say them: ntk has no name there and becomes the larger theta that
// it is.
RopeConfig published_rope(const ModelConfig& model);

// The text of a config.json that transformers 4 and 5 read. Error for what has no key there.
std::string huggingface_config(const ModelConfig& model, const SpecialTokens& tokens,
                               StoredType type);
std::string huggingface_generation_config(const SpecialTokens& tokens);

}  // namespace tessera
