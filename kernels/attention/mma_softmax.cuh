// The running softmax of the rows that a warp owns (Milakov & Gimelshein, "Online normalizer
// calculation for softmax", 2018; Dao, "FlashAttention-2", 2023).
#pragma once

#include "kernels/attention/mma_scores.cuh"
#include "kernels/attention/mma_tile.cuh"

namespace tessera::gpu {
namespace {

// A row's sums lie in a group of four lanes.
template <class T>
__device__ inline T row_sum(T x) {
  x += shuffle_xor(x, 1);
  return x + shuffle_xor(x, 2);
}
template <class T>
__device__ inline T row_max(T x) {
  x = max(x, shuffle_xor(x, 1));
  return max(x, shuffle_xor(x, 2));
}

template <class C>
class Softmax {
  using T = typename C::T;

 public:
  // Exponents in base 2 are `factor` times scores.
  __device__ explicit Softmax(T factor) : factor_(factor) {
#pragma unroll
    for (int i = 0; i < 2 * C::R; ++i) {
      maximum_[i / 2][i % 2] = -kInfinity<T>;
      sum_[i / 2][i % 2] = 0;
    }
  }

  // Turns scores (-infinity: not visible) into probabilities relative to the new maxima, and scales
  // `out`, the sums so far, to them.
  __device__ void step(typename C::Scores& scores, typename C::Out& out) {
    T before[C::R][2];
    bool grows = false;
#pragma unroll
    for (int i = 0; i < 2 * C::R; ++i) {
      T next = before[i / 2][i % 2] = maximum_[i / 2][i % 2];
      scores.each_in_row(i / 2, i % 2, [&](T& s, int) { next = max(next, s); });
      maximum_[i / 2][i % 2] = next = row_max(next);
      grows = grows || next != before[i / 2][i % 2];
    }
    // Far from a row's first keys its maximum rarely grows; to scale by 1 would cost as many
    // instructions as a product.
    if (any(grows)) rescale(before, out);
#pragma unroll
    for (int i = 0; i < 2 * C::R; ++i) {
      T& sum = sum_[i / 2][i % 2];
      const T shift = shift_of(i);
      scores.each_in_row(i / 2, i % 2, [&](T& s, int) {
        s = exp2_for<typename C::S>(fma(s, factor_, -shift));
        sum += s;
      });
    }
  }

  // After the last step: lse and what the sums are to be multiplied with. `sink`, a score that
  // every row has besides, is -infinity for none.
  __device__ void finish(T sink, T (&lse)[C::R][2], T (&factor)[C::R][2]) const {
#pragma unroll
    for (int i = 0; i < 2 * C::R; ++i) {
      const T sum = row_sum(sum_[i / 2][i % 2]), sink_exponent = sink * kLog2E<T>;
      const T exponent = sum == 0 ? -kInfinity<T> : maximum_[i / 2][i % 2] * factor_;
      const T shift = max(exponent, sink_exponent);
      const T scale = exponent == -kInfinity<T> ? T(0) : std::exp2(exponent - shift);
      const T with_sink =
          sum * scale + (sink == -kInfinity<T> ? T(0) : std::exp2(sink_exponent - shift));
      factor[i / 2][i % 2] = sum == 0 ? T(0) : scale / with_sink;
      lse[i / 2][i % 2] = with_sink == 0 ? -kInfinity<T> : fma(shift, kLn2<T>, std::log(with_sink));
    }
  }

 private:
  // The exponent of row i's maximum. Where nothing was visible yet, -infinity - 0 gives the zeros
  // that -infinity + infinity would not.
  __device__ T shift_of(int i) const {
    const T maximum = maximum_[i / 2][i % 2];
    return maximum == -kInfinity<T> ? T(0) : maximum * factor_;
  }

  __device__ void rescale(const T (&before)[C::R][2], typename C::Out& out) {
#pragma unroll
    for (int i = 0; i < 2 * C::R; ++i) {
      const T factor = exp2_for<typename C::S>(fma(before[i / 2][i % 2], factor_, -shift_of(i)));
      sum_[i / 2][i % 2] *= factor;
      out.each_in_row(i / 2, i % 2, [&](T& x, int) { x *= factor; });
    }
  }

  T factor_;
  T maximum_[C::R][2];  // of the scores; the same in the lanes of a row
  T sum_[C::R][2];      // of this lane's probabilities
};

}  // namespace
}  // namespace tessera::gpu
