// Philox, many blocks at a time. The numbers of core/random.h, whose code must not be instantiated
// in files that are compiled per instruction-set level.
#pragma once

#include "kernels/launch/cpu/simd.h"

namespace tessera {
namespace {

struct PhiloxKey {
  uint64_t seed;
  uint32_t purpose, step;
};

// words[4 i .. 4 i + 3] = block + i's numbers, i < kBlocks; plain loops over the blocks, which the
// compiler turns into vectors.
template <int kBlocks>
TESSERA_INLINE void philox_words(const PhiloxKey& key, uint64_t block, uint32_t* words) {
  uint32_t c0[kBlocks], c1[kBlocks], c2[kBlocks], c3[kBlocks];
  for (int i = 0; i < kBlocks; ++i) {
    c0[i] = uint32_t(block + uint64_t(i));
    c1[i] = uint32_t((block + uint64_t(i)) >> 32);
    c2[i] = key.purpose;
    c3[i] = key.step;
  }
  uint32_t k0 = uint32_t(key.seed), k1 = uint32_t(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kBlocks; ++i) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0[i], p1 = uint64_t{0xCD9E8D57u} * c2[i];
      c0[i] = uint32_t(p1 >> 32) ^ c1[i] ^ k0;
      c1[i] = uint32_t(p1);
      c2[i] = uint32_t(p0 >> 32) ^ c3[i] ^ k1;
      c3[i] = uint32_t(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < kBlocks; ++i) {
    words[4 * i] = c0[i];
    words[4 * i + 1] = c1[i];
    words[4 * i + 2] = c2[i];
    words[4 * i + 3] = c3[i];
  }
}

}  // namespace
}  // namespace tessera
