// A model with its weights, to generate with, to evaluate or to go on from.
#pragma once

#include <filesystem>
#include <memory>

#include "data/tokenizer.h"
#include "model/llama.h"
#include "train/config.h"

namespace tessera {

struct LoadedModel {
  RunConfig config;  // of the run that wrote the checkpoint; a foreign model sets only `model`
  std::unique_ptr<Tokenizer> tokenizer;  // null for a foreign model without a known one
  std::string tokenizer_problem;         // why it is null: one line naming the file
  Llama model;
  int64_t step;  // 0 for a foreign model
};

// `path` is a checkpoint, a folder of checkpoints or a run's folder (of several the newest good one
// is taken), a Hugging Face folder, a GGUF file or a legacy .bin of llama2.c. Weights are converted
// to `dtype` (f32 or bf16). `overrides` ("section.key=value") go on top of its configuration, see
// override_config(). Throws Error naming the file.
LoadedModel load_model(Context& ctx, const std::filesystem::path& path, DType dtype,
                       const std::vector<std::string>& overrides = {});

}  // namespace tessera
