// Settings of rotary position embeddings.
#pragma once

#include <cstdint>

namespace tessera {

// How the frequencies of a model are stretched beyond the context it was first trained with.
enum class RopeScaling : uint8_t {
  none,
  linear,  // all divided by `factor` (Chen et al., "Extending Context Window of LLMs", 2023)
  ntk,     // theta times factor^(D / (D - 2)) ("NTK-aware" scaling)
  yarn,    // Peng et al., "YaRN", 2023, section 3
  llama3,  // Llama 3.1: long wavelengths divided by `factor`, with a ramp in between
};

// Pair j of a head of D elements turns by theta^(-2 j / D) radians a position, before scaling.
struct RopeConfig {
  double theta = 10000;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;                     // context after scaling / before; at least 1
  int64_t original_length = 0;           // yarn, llama3: the context before scaling, in tokens
  double beta_fast = 32, beta_slow = 1;  // yarn: turns over original_length that bound the ramp
  double attention_factor = 0;           // yarn: multiplies cos and sin; 0 means 0.1 ln(factor) + 1
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3: turns that bound the ramp
};

}  // namespace tessera
