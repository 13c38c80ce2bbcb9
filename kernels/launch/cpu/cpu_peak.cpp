#include <immintrin.h>

#include "kernels/launch/cpu/peak.h"

namespace tessera {
namespace {

// Enough independent accumulators to cover latency x throughput of the multiply-add (4 or 5 cycles,
// 2 a cycle).
constexpr int kAccumulators = 12;

#if defined(__AVX512F__)
using Register = __m512;
constexpr int kLanes = 16;
[[gnu::always_inline]] inline Register set(float x) {
  return _mm512_set1_ps(x);
}
[[gnu::always_inline]] inline Register fma(Register a, Register b, Register c) {
  return _mm512_fmadd_ps(a, b, c);
}
#else
using Register = __m256;
constexpr int kLanes = 8;
[[gnu::always_inline]] inline Register set(float x) {
  return _mm256_set1_ps(x);
}
[[gnu::always_inline]] inline Register fma(Register a, Register b, Register c) {
  return _mm256_fmadd_ps(a, b, c);
}
#endif

template <class MultiplyAdd>
[[gnu::always_inline]] inline void burst(long iterations, const MultiplyAdd& multiply_add) {
  Register sums[kAccumulators];
#pragma GCC unroll 12
  for (Register& sum : sums) sum = set(0);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (Register& sum : sums) {
      sum = multiply_add(sum);
      asm volatile("" : "+v"(sum));  // keeps the loop as it is written
    }
  }
}

double burst_f32(long iterations) {
  const Register a = set(0.5f), b = set(0.25f);
  burst(iterations, [&](Register sum) { return fma(a, b, sum); });
  return double(iterations) * kAccumulators * kLanes * 2;
}

double burst_bf16(long iterations) {
#if defined(__AVX512BF16__)
  const __m512bh a = __m512bh(_mm512_set1_epi16(0x3f00)), b = __m512bh(_mm512_set1_epi16(0x3e80));
  burst(iterations, [&](Register sum) { return _mm512_dpbf16_ps(sum, a, b); });
  return double(iterations) * kAccumulators * kLanes * 4;
#else
  return burst_f32(iterations);
#endif
}

}  // namespace

template <>
PeakCpu peak_cpu<TESSERA_ISA>() {
  return {burst_f32, burst_bf16};
}

}  // namespace tessera
