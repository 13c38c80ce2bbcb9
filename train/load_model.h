// A model from a checkpoint, to generate with or to evaluate.
#pragma once

#include <filesystem>
#include <memory>

#include "data/tokenizer.h"
#include "model/llama.h"
#include "train/config.h"

namespace tessera {

struct LoadedModel {
  RunConfig config;  // of the run that wrote the checkpoint
  std::unique_ptr<Tokenizer> tokenizer;
  Llama model;
  int64_t step;
};

// `path` is a checkpoint, a folder of checkpoints or a run's folder; of several the newest good one
// is taken. Weights are converted to `dtype` (f32 or bf16). Throws Error naming the file.
LoadedModel load_model(Context& ctx, const std::filesystem::path& path, DType dtype);

}  // namespace tessera
