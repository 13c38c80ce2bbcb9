// Points of the grid of flash-attention's own tests: lengths, groups, head dimensions, masks,
// terms and dtypes, each combined with any of the others.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/kernels/attention_case.h"

namespace tessera::test {

struct AttentionPoint {
  AttentionCase problem;
  DType dtype;
};

enum class AttentionLengths { usual, few };  // `few`: below 150, but for the keys of decoding

// A Latin hypercube sample: every property takes each of its values equally often, in an order
// that `seed` shuffles for each property on its own. So no value is left out (of at least 14
// points), and values meet at random.
std::vector<AttentionPoint> sample_of_grid(uint32_t seed, int points, AttentionLengths lengths);

}  // namespace tessera::test
