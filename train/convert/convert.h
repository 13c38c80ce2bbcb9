// From one form of a model to another, tensor by tensor.
#pragma once

#include <optional>

#include "model/formats/write_tensor.h"
#include "train/convert/model_source.h"

namespace tessera {

struct ConvertOptions {
  // Where to; by default GGUF for a name that ends in .gguf, else Hugging Face from a checkpoint
  // and a checkpoint from everything else.
  std::optional<ModelForm> to;
  // By default the type the source has its embedding in; a checkpoint is always f32.
  std::optional<StoredType> type;
  uint64_t max_shard_bytes = 5'000'000'000;  // of a safetensors file
  std::filesystem::path tokenizer;           // of a model that carries none, see give_tokenizer()
};

struct ConvertSummary {
  ModelForm to = ModelForm::checkpoint;
  StoredType type = StoredType::f32;
  int64_t tensors = 0, parameters = 0;
  uint64_t bytes = 0;                    // of tensors
  std::string tokenizer_problem;         // why the output has no tokenizer; empty where it has
  std::vector<std::string> gguf_limits;  // what llama.cpp does otherwise with a GGUF file
};

// Bytes of tensors written so far, and in all.
using ConvertProgress = std::function<void(uint64_t done, uint64_t total)>;

// Reads `input` and writes `output`, which must not exist; it appears when all of it is on the
// disk. Needs memory for a block of rows, whatever the model's size. Throws Error, one line naming
// the file, the key or the option.
ConvertSummary convert_model(const std::filesystem::path& input,
                             const std::filesystem::path& output, const ConvertOptions& options,
                             const ConvertProgress& progress);

}  // namespace tessera
