// A model as llama.cpp reads it: architectures llama (Mistral and SmolLM2 too), qwen2 and qwen3.
#pragma once

#include "model/formats/file_weights.h"
#include "model/formats/gguf_file.h"
#include "model/formats/huggingface_config.h"

namespace tessera {

struct GgufModel {
  PublishedConfig config;
  std::string own_tokenizer;  // as write_gguf_model() was given; empty in files of others
  std::unique_ptr<WeightSource> weights;
};

// Whether the file begins as a GGUF file does.
bool is_gguf_file(const std::filesystem::path& path);

// Reads the metadata and maps the weights. Error naming file and key or tensor.
GgufModel open_gguf(const std::filesystem::path& path);

struct GgufOptions {
  StoredType type = StoredType::f16;  // of matrices
  std::string name;                   // of the model, shown to people
  GgufMetadata tokenizer;             // tokenizer.ggml.* and tokenizer.chat_template
  std::string own_tokenizer;          // stored under a key of ours; empty: not
};

// Writes the file and returns the bytes of its tensors when all is on the disk. Error for a model
// that llama.cpp has not.
uint64_t write_gguf_model(const std::filesystem::path& path, const ModelConfig& model,
                          const WeightSource& source, const GgufOptions& options,
                          const WriteProgress& progress);

}  // namespace tessera
