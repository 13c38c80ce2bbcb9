// Copies of operands in the orders that matrix products read them, widened or paired, padded with
// zeros. Sources are `rows` x `columns` values of type S; nothing beyond them is read.
#pragma once

#include "kernels/attention/cpu_layout.h"
#include "kernels/attention/cpu_tile.h"

namespace tessera {
namespace {

template <class S>
struct Source {
  const S* data;
  int64_t stride;  // of rows
  int64_t rows, columns;
};

// The pair of neighbours in every 32 bits, from bf16 rows.
template <class E, class S>
inline constexpr bool kPairs = kPack<E> == 2 && sizeof(S) == 2;

// ---- rows: target[row][step] ----

template <class E, class S>
TESSERA_INLINE void pack_row(const S* from, int64_t columns, E* to, int64_t steps) {
  if constexpr (kPairs<E, S>) {
    uint16_t* out = reinterpret_cast<uint16_t*>(to);
    std::memcpy(out, from, size_t(columns) * 2);
    for (int64_t c = columns; c < 2 * steps; ++c) out[c] = 0;
  } else {
    using V = Vec<E>;
    for (int64_t c = 0; c < steps; c += V::kLanes) {
      const int inside = lanes_left<V>(columns - c), room = lanes_left<V>(steps - c);
      const V x = inside == V::kLanes ? V::load(from + c) : V::load_first(from + c, inside);
      x.store_first(to + c, room);
    }
  }
}

// Zero rows are added up to `padded_rows_count`.
template <class E, class S>
void pack_rows(Source<S> from, E* to, int64_t stride, int64_t steps, int64_t padded) {
  for (int64_t r = 0; r < from.rows; ++r) {
    pack_row(from.data + r * from.stride, from.columns, to + r * stride, steps);
  }
  for (int64_t r = from.rows; r < padded; ++r) {
    std::memset(static_cast<void*>(to + r * stride), 0, size_t(steps) * sizeof(E));
  }
}

// ---- transposed: panels of kPanel rows, target[row / kPanel][step][row % kPanel] ----

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

// Elements step .. step + lanes - 1 of one row, 0 beyond its end.
template <class E, class S>
TESSERA_INLINE Vec<sum_t<E>> load_row_elements(const S* row, int64_t step, int64_t columns) {
  using V = Vec<sum_t<E>>;
#ifdef __AVX512BF16__
  if constexpr (kPairs<E, S>) {
    const int inside = int(larger(0, smaller(32, columns - 2 * step)));
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(first_bits(inside), row + 2 * step));
  }
#endif
  const int inside = lanes_left<V>(columns - step);
  return inside == V::kLanes ? V::load(row + step) : V::load_first(row + step, inside);
}

template <class E, class S>
void pack_transposed_square(Source<S> from, int64_t row, int64_t step, E* to, int64_t steps) {
  constexpr int kL = kLanes<E>;
  Vec<float> x[kL];
#pragma GCC unroll 16
  for (int i = 0; i < kL; ++i) {
    x[i] = row + i < from.rows
               ? load_row_elements<E>(from.data + (row + i) * from.stride, step, from.columns)
               : Vec<float>::zero();
  }
  transpose_square(x);
  const int inside = lanes_left<Vec<float>>(steps - step);
#pragma GCC unroll 16
  for (int i = 0; i < kL; ++i) {
    if (i < inside) x[i].store(reinterpret_cast<float*>(to + (step + i) * kPanel<E>));
  }
}

// Zero rows are added up to a multiple of kMaxPanel.
template <class E, class S>
void pack_transposed(Source<S> from, E* to, int64_t steps) {
  constexpr int64_t kP = kPanel<E>, kL = kLanes<E>;
  const int64_t padded = round_up(from.rows, kMaxPanel);
  for (int64_t row = 0; row < padded; row += kL) {
    E* panel = to + row / kP * kP * steps + row % kP;
    for (int64_t step = 0; step < steps; step += kL) {
      if constexpr (sizeof(E) == 4) {
        pack_transposed_square(from, row, step, panel, steps);
      } else {
        for (int64_t i = 0; i < kL * kL; ++i) {
          const int64_t r = row + i / kL, s = step + i % kL;
          if (s >= steps) continue;
          panel[s * kP + i / kL] = r < from.rows ? from.data[r * from.stride + s] : E(0);
        }
      }
    }
  }
}

// ---- panels: of kPanel columns, target[column / kPanel][row / kPack][column % kPanel] ----

// Columns column .. column + lanes - 1 of rows `row` (and row + 1 for pairs), 0 beyond the end.
template <class E, class S>
TESSERA_INLINE Vec<sum_t<E>> load_column_elements(Source<S> from, int64_t row, int64_t column) {
  using V = Vec<sum_t<E>>;
  const int inside = lanes_left<V>(from.columns - column);
  const S* p = from.data + row * from.stride + column;
#ifdef __AVX512BF16__
  if constexpr (kPairs<E, S>) {
    const __mmask16 mask = __mmask16(first_bits(inside));
    const __mmask16 second = row + 1 < from.rows ? mask : 0;
    const __m256i a = _mm256_maskz_loadu_epi16(row < from.rows ? mask : 0, p);
    const __m256i b = _mm256_maskz_loadu_epi16(second, p + (second ? from.stride : 0));
    return _mm512_castsi512_ps(
        _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16)));
  }
#endif
  if (row >= from.rows) return V::zero();
  return inside == V::kLanes ? V::load(p) : V::load_first(p, inside);
}

// Zero rows are added up to `padded`, a multiple of kPack; columns up to whole lanes.
template <class E, class S>
void pack_panels(Source<S> from, E* to, int64_t padded) {
  constexpr int64_t kP = kPanel<E>, kL = kLanes<E>;
  const int64_t panel = padded / kPack<E> * kP, columns = round_up(from.columns, kColumnUnit);
  for (int64_t row = 0; row < padded; row += kPack<E>) {
    for (int64_t column = 0; column < columns; column += kL) {
      E* out = to + column / kP * panel + row / kPack<E> * kP + column % kP;
      load_column_elements<E>(from, row, column).store(reinterpret_cast<sum_t<E>*>(out));
    }
  }
}

}  // namespace
}  // namespace tessera
