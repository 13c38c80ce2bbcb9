// A pseudo-random order of 0 .. n-1 in constant memory: a Feistel network over the smallest power
// of two that holds n, walked along its cycles back into range (Black and Rogaway, "Ciphers with
// Arbitrary Finite Domains", CT-RSA 2002).
#pragma once

#include <bit>
#include <cstdint>

#include "core/random.h"

namespace tessera {

class Permutation {
 public:
  // The order depends on (size, random) alone.
  Permutation(uint64_t size, const Philox& random)
      : size_(size),
        random_(random),
        low_bits_(bits(size) / 2),
        high_bits_(bits(size) - low_bits_) {}

  uint64_t size() const { return size_; }

  // The index'th of the order; index < size().
  uint64_t operator()(uint64_t index) const {
    do {
      index = scramble(index);
    } while (index >= size_);
    return index;
  }

 private:
  static constexpr uint32_t kRounds = 6;

  static constexpr int bits(uint64_t size) { return size < 4 ? 2 : std::bit_width(size - 1); }

  // A bijection of 0 .. 2^(low_bits_ + high_bits_) - 1.
  uint64_t scramble(uint64_t x) const {
    const uint64_t low_mask = (uint64_t{1} << low_bits_) - 1,
                   high_mask = (uint64_t{1} << high_bits_) - 1;
    uint64_t low = x & low_mask, high = x >> low_bits_;
    for (uint32_t round = 0; round < kRounds; ++round) {
      high ^= random_.block(low << 8 | 2 * round)[0] & high_mask;
      low ^= random_.block(high << 8 | (2 * round + 1))[0] & low_mask;
    }
    return high << low_bits_ | low;
  }

  uint64_t size_;
  Philox random_;
  int low_bits_, high_bits_;
};

}  // namespace tessera
