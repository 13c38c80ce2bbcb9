// The dropout mask, many elements at a time.
#pragma once

#include "kernels/attention/cpu_layout.h"
#include "kernels/launch/cpu/philox.h"

namespace tessera {
namespace {

class DropoutMask {
 public:
  explicit DropoutMask(const AttentionProblem& p)
      : q_tokens_(p.q_tokens), k_tokens_(p.k_tokens), key_{p.seed, p.purpose, p.step} {
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
      uint32_t words[4 * kBlocks];
      philox_words<kBlocks>(key_, (first + uint64_t(done)) / 4, words);
      const int64_t begin = larger(0, done), end = smaller(count, done + 4 * kBlocks);
      for (int64_t i = begin; i < end; ++i)
        keep[i * kStride] = T(int32_t(words[i - done] >> 8) >= threshold_);
    }
  }

 private:
  static constexpr int kBlocks = 16;

  int64_t q_tokens_, k_tokens_;
  PhiloxKey key_;
  int32_t threshold_;
};

}  // namespace
}  // namespace tessera
