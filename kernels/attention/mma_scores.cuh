// From products q k^T to scores: softcap and ALiBi; exponentials; the dropout mask.
#pragma once

#include <cmath>

#include "kernels/attention/gpu.h"
#include "kernels/attention/mma_band.cuh"
#include "kernels/launch/gpu/philox.h"

namespace tessera::gpu {
namespace {

template <class T>
inline constexpr T kLog2E = T(1.4426950408889634074);
template <class T>
inline constexpr T kLn2 = T(0.69314718055994530942);
template <class T>
inline constexpr T kInfinity = T(__builtin_huge_val());

// 2^x, as exact as probabilities that are stored as S deserve.
template <class S>
__device__ inline Wide<S> exp2_for(Wide<S> x) {
  if constexpr (sizeof(S) == 2) {
    return exp2_approx(x);
  } else {
    return std::exp2(x);
  }
}

// Likewise tanh(x), whose absolute error counts: scores are multiples of it.
template <class S>
__device__ inline Wide<S> tanh_for(Wide<S> x) {
  if constexpr (sizeof(S) == 2) {
    return 1 - 2 * rcp_approx(1 + exp2_approx(2 * kLog2E<float> * x));
  } else {
    return std::tanh(x);
  }
}

template <class T>
__device__ inline T sink_of(const AttentionExtras& extras, int64_t head) {
  return static_cast<const T*>(extras.sink)[head];
}

// The scores of one head of one segment. Without extras a score is `scale` times the product.
template <class S, bool kExtras>
struct ScoreTerms {
  using T = Wide<S>;
  T scale, softcap, slope;
  int diagonal;

  __device__ ScoreTerms(const AttentionProblem& p, const AttentionExtras& extras, const Band& band,
                        int head)
      : scale(T(p.scale)),
        softcap(T(p.softcap)),
        slope(kExtras && extras.alibi_slopes ? T(extras.alibi_slopes[head]) : T(0)),
        diagonal(band.keys - band.queries) {}

  struct Score {
    T value;
    T slope;  // its derivative by the scaled product
  };
  __device__ Score operator()(T product, int query, int key) const {
    T score = scale * product, derivative = 1;
    if constexpr (kExtras) {
      if (softcap > 0) {
        const T t = tanh_for<S>(score / softcap);
        score = softcap * t;
        derivative = fma(-t, t, T(1));
      }
      if (slope != 0) score -= bias(query, key);
    }
    return {score, derivative};
  }

  // The same for all products of a tile from `query` and `key` on, without derivatives; what the
  // problem does not ask for costs one look a tile.
  template <class Sums>
  __device__ void apply(Sums& products, int query, int key) const {
    products.each([&](T& x, int, int, int, int) { x *= scale; });
    if (softcap > 0) {
      products.each([&](T& x, int, int, int, int) { x = softcap * tanh_for<S>(x / softcap); });
    }
    if (slope != 0) {
      products.each(
          [&](T& x, int, int, int row, int column) { x -= bias(query + row, key + column); });
    }
  }

 private:
  __device__ T bias(int query, int key) const {
    const int distance = query + diagonal - key;
    return slope * T(distance < 0 ? -distance : distance);
  }
};

// Tells which probabilities dropout keeps. Tokens count from the start of the arrays.
class DropoutMask {
 public:
  __device__ explicit DropoutMask(const AttentionProblem& p)
      : random_(p.seed, p.purpose, p.step),
        q_tokens_(p.q_tokens),
        k_tokens_(p.k_tokens),
        threshold_(uint32_t(std::ceil(p.dropout * 0x1p24))) {}

  __device__ bool active() const { return threshold_ > 0; }
  // Keeps the four numbers of the last block, which neighbouring keys share. Where a lane's
  // neighbours are queries (dk, dv), each costs a block.
  __device__ bool keeps(int head, int query_token, int key_token) {
    const auto element =
        uint64_t((int64_t(head) * q_tokens_ + query_token) * k_tokens_ + key_token);
    if (element / 4 != block_) {
      block_ = element / 4;
      numbers_ = philox_block(random_, block_);
    }
    const uint32_t low = element & 1 ? numbers_.v[1] : numbers_.v[0];
    const uint32_t high = element & 1 ? numbers_.v[3] : numbers_.v[2];
    return ((element & 2 ? high : low) >> 8) >= threshold_;
  }

 private:
  Philox random_;
  int64_t q_tokens_, k_tokens_;
  uint32_t threshold_;  // keeps where a uniform 24-bit number is at least this
  uint64_t block_ = ~uint64_t{0};
  Vector<uint32_t, 4> numbers_ = {};
};

}  // namespace
}  // namespace tessera::gpu
