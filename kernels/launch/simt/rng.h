// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
// 2014): the source of schedules.
#pragma once

#include <cstdint>

namespace tessera::simt {

class Rng {
 public:
  explicit Rng(uint64_t seed = 0) : state_(seed) {}

  uint32_t operator()() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return uint32_t(z >> 32);
  }
  // Uniform in [0, n), n > 0.
  uint32_t below(uint32_t n) { return uint32_t(uint64_t((*this)()) * n >> 32); }
  bool one_in(uint32_t n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

}  // namespace tessera::simt
