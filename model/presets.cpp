#include "model/presets.h"

#include "model/config.h"

namespace tessera {
namespace {

ModelRopeConfig rope(double theta) {
  ModelRopeConfig config;
  config.theta = theta;
  return config;
}

// Llama 3.1 and 3.2: trained at 8192 tokens, then stretched.
ModelRopeConfig llama3_rope(double factor) {
  ModelRopeConfig config = rope(500000);
  config.scaling = RopeScaling::llama3;
  config.factor = factor;
  config.original_length = 8192;
  return config;
}

// Sizes and standard deviations from the published configuration files (karpathy/tinyllamas for
// stories*, config.json of the others). Residual projections are scaled where the training code is
// known to do so: llama2.c for stories*, nanotron for SmolLM2.
std::vector<ModelConfig> presets() {
  const InitConfig everywhere{.std = 0.02, .scale_residual = false};
  return {
      {.preset = "stories260k",
       .vocab_size = 512,
       .layers = 5,
       .width = 64,
       .heads = 8,
       .kv_heads = 4,
       .ffn_width = 172,
       .context = 512,
       .tied_embeddings = true},
      {.preset = "stories15m",
       .vocab_size = 32000,
       .layers = 6,
       .width = 288,
       .heads = 6,
       .kv_heads = 6,
       .ffn_width = 768,
       .context = 256,
       .tied_embeddings = true},
      {.preset = "stories42m",
       .vocab_size = 32000,
       .layers = 8,
       .width = 512,
       .heads = 8,
       .kv_heads = 8,
       .ffn_width = 1376,
       .context = 1024,
       .tied_embeddings = true},
      {.preset = "stories110m",
       .vocab_size = 32000,
       .layers = 12,
       .width = 768,
       .heads = 12,
       .kv_heads = 12,
       .ffn_width = 2048,
       .context = 1024,
       .tied_embeddings = true},
      {.preset = "smollm2-135m",
       .vocab_size = 49152,
       .layers = 30,
       .width = 576,
       .heads = 9,
       .kv_heads = 3,
       .ffn_width = 1536,
       .context = 8192,
       .tied_embeddings = true,
       .rope = rope(100000),
       .init = {.std = 1.0 / 24}},
      {.preset = "smollm2-360m",
       .vocab_size = 49152,
       .layers = 32,
       .width = 960,
       .heads = 15,
       .kv_heads = 5,
       .ffn_width = 2560,
       .context = 8192,
       .tied_embeddings = true,
       .rope = rope(100000)},
      {.preset = "tinyllama-1.1b",
       .vocab_size = 32000,
       .layers = 22,
       .width = 2048,
       .heads = 32,
       .kv_heads = 4,
       .ffn_width = 5632,
       .context = 2048,
       .init = everywhere},
      {.preset = "llama-3.2-1b",
       .vocab_size = 128256,
       .layers = 16,
       .width = 2048,
       .heads = 32,
       .kv_heads = 8,
       .ffn_width = 8192,
       .context = 131072,
       .tied_embeddings = true,
       .rope = llama3_rope(32),
       .init = everywhere},
      {.preset = "llama-3.2-3b",
       .vocab_size = 128256,
       .layers = 28,
       .width = 3072,
       .heads = 24,
       .kv_heads = 8,
       .ffn_width = 8192,
       .context = 131072,
       .tied_embeddings = true,
       .rope = llama3_rope(32),
       .init = everywhere},
      {.preset = "llama-2-7b",
       .vocab_size = 32000,
       .layers = 32,
       .width = 4096,
       .heads = 32,
       .kv_heads = 32,
       .ffn_width = 11008,
       .context = 4096,
       .init = everywhere},
      {.preset = "llama-3.1-8b",
       .vocab_size = 128256,
       .layers = 32,
       .width = 4096,
       .heads = 32,
       .kv_heads = 8,
       .ffn_width = 14336,
       .context = 131072,
       .rope = llama3_rope(8),
       .init = everywhere},
      {.preset = "mistral-7b",  // v0.1, the one with a window
       .vocab_size = 32000,
       .layers = 32,
       .width = 4096,
       .heads = 32,
       .kv_heads = 8,
       .ffn_width = 14336,
       .context = 32768,
       .sliding_window = 4096,
       .init = everywhere},
  };
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names = {ModelConfig{}.preset};
  for (const ModelConfig& config : presets()) names.push_back(config.preset);
  return names;
}

ModelConfig model_preset(const std::string& name) {
  ModelConfig custom;
  if (name == custom.preset) return custom;
  for (const ModelConfig& config : presets()) {
    if (config.preset == name) return config;
  }
  fail("model.preset: there is no {}; choose one of {}", name, fmt::join(preset_names(), ", "));
}

}  // namespace tessera
