// The dropout mask, many elements at a time. Philox as in core/random.h, whose code must not be
// instantiated in files that are compiled per instruction-set level.
#pragma once

#include "kernels/attention/cpu_layout.h"
#include "kernels/launch/cpu/simd.h"

namespace tessera {
namespace {

class DropoutMask {
 public:
  explicit DropoutMask(const AttentionProblem& p)
      : q_tokens_(p.q_tokens),
        k_tokens_(p.k_tokens),
        seed_(p.seed),
        purpose_(p.purpose),
        step_(p.step) {
    // uniform() >= dropout, where uniform is a 24-bit integer times 2^-24
    threshold_ = int32_t(__builtin_ceil(p.dropout * 0x1p24));
  }

  // keep[i * kStride] = 1 or 0 for keys key + i, i < count, of a row. Tokens are counted from the
  // start of the arrays.
  template <int64_t kStride = 1, class T>
  void row(int64_t head, int64_t query, int64_t key, int64_t count, T* keep) const {
    const uint64_t first = uint64_t((head * q_tokens_ + query) * k_tokens_ + key);
    const int64_t skip = int64_t(first % 4);  // a block of Philox serves 4 elements
    for (int64_t done = -skip; done < count; done += 4 * kBlocks) {
      int32_t bits[4 * kBlocks];
      draw((first + uint64_t(done)) / 4, bits);
      const int64_t begin = larger(0, done), end = smaller(count, done + 4 * kBlocks);
      for (int64_t i = begin; i < end; ++i) keep[i * kStride] = T(bits[i - done] >= threshold_);
    }
  }

 private:
  static constexpr int kBlocks = 16;

  // 24-bit integers of `kBlocks` blocks; plain loops over the blocks, which the compiler turns into
  // vectors.
  TESSERA_INLINE void draw(uint64_t block, int32_t* bits) const {
    uint32_t c0[kBlocks], c1[kBlocks], c2[kBlocks], c3[kBlocks];
    for (int i = 0; i < kBlocks; ++i) {
      c0[i] = uint32_t(block + uint64_t(i));
      c1[i] = uint32_t((block + uint64_t(i)) >> 32);
      c2[i] = purpose_;
      c3[i] = step_;
    }
    uint32_t k0 = uint32_t(seed_), k1 = uint32_t(seed_ >> 32);
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
      bits[4 * i] = int32_t(c0[i] >> 8);
      bits[4 * i + 1] = int32_t(c1[i] >> 8);
      bits[4 * i + 2] = int32_t(c2[i] >> 8);
      bits[4 * i + 3] = int32_t(c3[i] >> 8);
    }
  }

  int64_t q_tokens_, k_tokens_;
  uint64_t seed_;
  uint32_t purpose_, step_;
  int32_t threshold_;
};

}  // namespace
}  // namespace tessera
