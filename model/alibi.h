// Attention with linear biases (Press, Smith & Lewis, "Train Short, Test Long", 2022): scores fall
// with distance, by a slope of each head, in place of other information on positions.
#pragma once

#include <cstdint>
#include <vector>

namespace tessera {

// One slope a head, by the paper's rule (section 3 and its code): 2^(-8/n), 2^(-16/n), ..., 2^-8
// for n heads, n a power of two; for other numbers those of the power of two below, m, and then
// every second one of those for 2m.
std::vector<float> alibi_slopes(int64_t heads);

}  // namespace tessera
