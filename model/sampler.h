// Choosing the next token from logits.
#pragma once

#include <cstdint>
#include <span>

#include "core/random.h"

namespace tessera {

struct SamplerOptions {
  double temperature = 1;  // 0: always the likeliest token
  int64_t top_k = 0;       // only the k likeliest; 0: all
  double top_p = 1;        // only the likeliest that together reach this probability
  uint64_t seed = 0;
};

// Draws token number `position` of a text: the same seed gives the same text. Ties go to the lower
// id, and NaN is never drawn. Throws Error if the largest logit is not finite.
int64_t sample(std::span<const float> logits, const SamplerOptions& options, int64_t position);

}  // namespace tessera
