// A model in a Hugging Face folder: config.json, safetensors, generation_config.json and the files
// of its tokenizer.
#pragma once

#include "model/formats/file_weights.h"
#include "model/formats/huggingface_config.h"
#include "model/formats/safetensors_writer.h"

namespace tessera {

struct HuggingFaceModel {
  PublishedConfig config;
  std::unique_ptr<WeightSource> weights;
};

// Whether the folder has a config.json.
bool is_huggingface_folder(const std::filesystem::path& folder);

// Reads the configuration and maps the weights. Error naming file and key or tensor.
HuggingFaceModel open_huggingface(const std::filesystem::path& folder);

// Writes config.json, generation_config.json and the weights into an existing folder and returns
// the bytes of the weights when all is on the disk. Error for a model that transformers has not.
uint64_t write_huggingface(const std::filesystem::path& folder, const ModelConfig& model,
                           const SpecialTokens& tokens, const WeightSource& source,
                           const SafetensorsOptions& options, const WriteProgress& progress);

}  // namespace tessera
