#include "model/presets.h"

#include "model/config.h"

namespace tessera {
namespace {

struct Preset {
  const char* name;
  int64_t vocab_size, layers, width, heads, kv_heads, ffn_width, context;
  bool tied_embeddings;
  double rope_theta;
  double llama3_factor;  // Llama 3.1 and 3.2: stretched from 8192 tokens by this; 0: not
  int64_t sliding_window;
  double init_std;
  bool scale_residual;
};

// Sizes and standard deviations from the published configuration files (karpathy/tinyllamas for
// stories*, config.json of the others; Mistral is v0.1, the one with a window). Residual
// projections are scaled where the training code is known to do so: llama2.c for stories*, nanotron
// for SmolLM2.
// clang-format off
constexpr Preset kPresets[] = {
  //                  vocab   L     d   H  kv    ffn     ctx   tied  rope   x   win     std    res
  {"stories260k",       512,  5,   64,  8,  4,   172,    512,  true,  1e4,  0,    0,   0.02,  true},
  {"stories15m",      32000,  6,  288,  6,  6,   768,    256,  true,  1e4,  0,    0,   0.02,  true},
  {"stories42m",      32000,  8,  512,  8,  8,  1376,   1024,  true,  1e4,  0,    0,   0.02,  true},
  {"stories110m",     32000, 12,  768, 12, 12,  2048,   1024,  true,  1e4,  0,    0,   0.02,  true},
  {"smollm2-135m",    49152, 30,  576,  9,  3,  1536,   8192,  true,  1e5,  0,    0, 1.0/24,  true},
  {"smollm2-360m",    49152, 32,  960, 15,  5,  2560,   8192,  true,  1e5,  0,    0,   0.02,  true},
  {"tinyllama-1.1b",  32000, 22, 2048, 32,  4,  5632,   2048, false,  1e4,  0,    0,   0.02, false},
  {"llama-3.2-1b",   128256, 16, 2048, 32,  8,  8192, 131072,  true,  5e5, 32,    0,   0.02, false},
  {"llama-3.2-3b",   128256, 28, 3072, 24,  8,  8192, 131072,  true,  5e5, 32,    0,   0.02, false},
  {"llama-2-7b",      32000, 32, 4096, 32, 32, 11008,   4096, false,  1e4,  0,    0,   0.02, false},
  {"llama-3.1-8b",   128256, 32, 4096, 32,  8, 14336, 131072, false,  5e5,  8,    0,   0.02, false},
  {"mistral-7b",      32000, 32, 4096, 32,  8, 14336,  32768, false,  1e4,  0, 4096,   0.02, false},
};
// clang-format on

ModelConfig config_of(const Preset& preset) {
  ModelConfig config;
  config.preset = preset.name;
  config.vocab_size = preset.vocab_size;
  config.layers = preset.layers;
  config.width = preset.width;
  config.heads = preset.heads;
  config.kv_heads = preset.kv_heads;
  config.ffn_width = preset.ffn_width;
  config.context = preset.context;
  config.sliding_window = preset.sliding_window;
  config.tied_embeddings = preset.tied_embeddings;
  config.rope.theta = preset.rope_theta;
  if (preset.llama3_factor > 0) {
    config.rope.scaling = RopeScaling::llama3;
    config.rope.factor = preset.llama3_factor;
    config.rope.original_length = 8192;
  }
  config.init = {.std = preset.init_std, .scale_residual = preset.scale_residual};
  return config;
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names = {ModelConfig{}.preset};
  for (const Preset& preset : kPresets) names.push_back(preset.name);
  return names;
}

ModelConfig model_preset(const std::string& name) {
  const ModelConfig custom;
  if (name == custom.preset) return custom;
  for (const Preset& preset : kPresets) {
    if (name == preset.name) return config_of(preset);
  }
  fail("model.preset: there is no {}; choose one of {}", name, fmt::join(preset_names(), ", "));
}

}  // namespace tessera
