// Transposition of a square of values of 32 bits in registers. For files compiled per
// instruction-set level.
#pragma once

#include "kernels/launch/cpu/simd.h"

namespace tessera {
namespace {

#ifdef __AVX512F__
// 16 x 16 values of 32 bits.
TESSERA_INLINE void transpose_square(Vec<float> (&x)[16]) {
  __m512 t[16], u[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(x[2 * i].raw, x[2 * i + 1].raw);
    t[2 * i + 1] = _mm512_unpackhi_ps(x[2 * i].raw, x[2 * i + 1].raw);
  }
  const auto low = [](__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  };
  const auto high = [](__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  };
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    u[4 * i] = low(t[4 * i], t[4 * i + 2]);
    u[4 * i + 1] = high(t[4 * i], t[4 * i + 2]);
    u[4 * i + 2] = low(t[4 * i + 1], t[4 * i + 3]);
    u[4 * i + 3] = high(t[4 * i + 1], t[4 * i + 3]);
  }
  // u[4 i + j] holds column j of each 4 x 4 block of rows 4 i ..; what is left is a transposition
  // of blocks.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 a = _mm512_shuffle_f32x4(u[j], u[4 + j], 0x88);
    const __m512 b = _mm512_shuffle_f32x4(u[j], u[4 + j], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0x88);
    const __m512 d = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0xdd);
    x[j] = _mm512_shuffle_f32x4(a, c, 0x88);
    x[8 + j] = _mm512_shuffle_f32x4(a, c, 0xdd);
    x[4 + j] = _mm512_shuffle_f32x4(b, d, 0x88);
    x[12 + j] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}
#else
// 8 x 8 values of 32 bits.
TESSERA_INLINE void transpose_square(Vec<float> (&x)[8]) {
  __m256 t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(x[2 * i].raw, x[2 * i + 1].raw);
    t[2 * i + 1] = _mm256_unpackhi_ps(x[2 * i].raw, x[2 * i + 1].raw);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    x[j] = _mm256_permute2f128_ps(u[j], u[4 + j], 0x20);
    x[4 + j] = _mm256_permute2f128_ps(u[j], u[4 + j], 0x31);
  }
}
#endif

}  // namespace
}  // namespace tessera
