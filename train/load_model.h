// A model with its weights, to generate with, to evaluate or to go on from.
#pragma once

#include <filesystem>
#include <memory>

#include "data/tokenizer.h"
#include "model/llama.h"
#include "train/config.h"
#include "train/convert/model_source.h"

namespace tessera {

struct LoadedModel {
  RunConfig config;  // of the run that wrote the checkpoint; a foreign model sets only `model`
  std::unique_ptr<Tokenizer> tokenizer;  // null for a foreign model without a known one
  std::string tokenizer_problem;         // why it is null: one line naming the file
  std::vector<int64_t> end_tokens;       // ids that end a text
  Llama model;
  int64_t step;  // 0 for a foreign model
};

// Weights are converted to `dtype` (f32 or bf16). `overrides` ("section.key=value") go on top of
// the model's configuration, see override_config(). Throws Error naming the file.
LoadedModel load_model(Context& ctx, ModelSource source, DType dtype,
                       const std::vector<std::string>& overrides = {});

// The same for what open_model() finds at `path`.
LoadedModel load_model(Context& ctx, const std::filesystem::path& path, DType dtype,
                       const std::vector<std::string>& overrides = {});

}  // namespace tessera
