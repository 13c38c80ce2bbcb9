// Stochastic rounding (Gupta et al., "Deep Learning with Limited Numerical Precision", 2015): up or
// down with the probabilities that make the expected result the exact number, so that updates
// smaller than half a unit of bf16's last place add up instead of being lost.
#pragma once

#include <cstdint>

namespace tessera {
namespace {

// The bf16 bits for f32 bits; the upper half of `random` is compared with what is cut off.
// Infinities and NaNs stay what they are.
constexpr uint16_t round_stochastically(uint32_t bits, uint32_t random) {
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + (magnitude == 0x7f800000u ? 0 : random >> 16)) >> 16);
}

}  // namespace
}  // namespace tessera
