// Rotary position embeddings (Su et al., "RoFormer", 2021) in double precision, with the frequency
// scalings of the published long-context models. Element j pairs with element j + D/2 of its head
// (the rotate-half convention of GPT-NeoX and of Hugging Face's Llama).
#pragma once

#include "tests/support/values.h"

namespace tessera::reference {

enum class RopeScaling {
  none,
  linear,  // positions divided by `factor` (Chen et al., 2023)
  ntk,     // theta times factor^(D / (D - 2)) ("NTK-aware" interpolation)
  yarn,    // Peng et al., "YaRN", 2023, section 3
  llama3,  // Llama 3.1: long wavelengths divided by `factor`, a ramp in between
};

struct RopeSpec {
  double theta = 10000;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  double original_length = 0;            // yarn, llama3: context length of the unscaled model
  double beta_fast = 32, beta_slow = 1;  // yarn: turns over original_length that bound the ramp
  double attention_factor = 0;           // yarn: multiplies cos and sin; 0 means 0.1 ln(factor) + 1
  double low_freq_factor = 1,
         high_freq_factor = 4;  // llama3: turns over original_length that bound the ramp
};

struct RopeFrequencies {
  Vec radians_per_position;  // [D/2]
  double amplitude;          // of cos and sin
};

RopeFrequencies rope_frequencies(const RopeSpec& spec, int64_t head_dim);

// x [N, H, D], positions [N] -> [N, H, D].
Vec rope_forward(const RopeSpec& spec, const Vec& x, const std::vector<int32_t>& positions,
                 int64_t head_dim);

// The transpose of the forward map, applied to dy [N, H, D].
Vec rope_backward(const RopeSpec& spec, const Vec& dy, const std::vector<int32_t>& positions,
                  int64_t head_dim);

}  // namespace tessera::reference
