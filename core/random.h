// Counter-based random numbers: Philox-4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as
// 1, 2, 3", SC 2011). A number depends on (seed, purpose, step, element) alone, so results are the
// same for any number of threads or ranks, and a recomputed segment draws what it drew the first
// time.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace tessera {

class Philox {
 public:
  // `purpose` names the tensor or use that the numbers are for; see purpose_id().
  constexpr Philox(uint64_t seed, uint32_t purpose, uint32_t step)
      : seed_(seed), purpose_(purpose), step_(step) {}

  // Four 32-bit numbers; block b serves elements 4b .. 4b+3.
  constexpr std::array<uint32_t, 4> block(uint64_t b) const {
    std::array<uint32_t, 4> c{uint32_t(b), uint32_t(b >> 32), purpose_, step_};
    uint32_t k0 = uint32_t(seed_), k1 = uint32_t(seed_ >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
      c = {uint32_t(p1 >> 32) ^ c[1] ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ k1,
           uint32_t(p0)};
      k0 += 0x9E3779B9u;  // Weyl sequence: golden ratio
      k1 += 0xBB67AE85u;  // Weyl sequence: sqrt(3) - 1
    }
    return c;
  }

  constexpr uint32_t bits(uint64_t element) const { return block(element / 4)[element % 4]; }

  // Uniform in [0, 1): 24 bits, exact in f32.
  constexpr float uniform(uint64_t element) const { return float(bits(element) >> 8) * 0x1p-24f; }

  // Uniform integer in [0, n), n > 0, unbiased to within n / 2^64.
  constexpr uint64_t below(uint64_t element, uint64_t n) const {
    const auto r = block(element);
    const uint64_t x = uint64_t(r[0]) << 32 | r[1];
    return uint64_t((unsigned __int128)x * n >> 64);
  }

  // Standard normal (Box-Muller on two numbers of block `element`).
  double normal(uint64_t element) const {
    const auto r = block(element);
    const double u = (double(r[0]) + 0.5) * 0x1p-32, v = (double(r[1]) + 0.5) * 0x1p-32;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

 private:
  uint64_t seed_;
  uint32_t purpose_, step_;
};

// FNV-1a of a name such as "init/layers.0.attention.wq".
constexpr uint32_t purpose_id(std::string_view name) {
  uint32_t h = 2166136261u;
  for (char c : name) h = (h ^ uint8_t(c)) * 16777619u;
  return h;
}

}  // namespace tessera
