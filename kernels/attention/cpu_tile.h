// Matrix products of packed operands, tile by tile: C = A B or an update of C. For files compiled
// per instruction-set level.
//
// The element E of A and B is f32, f64, or a Pair of bf16 values that are neighbours along the
// reduction (vdpbf16ps multiplies pairs and adds both products to one f32). A is any array with a
// row stride and a step stride (a step is one element along the reduction). B is cut in panels of
// kPanel<E> columns; within a panel, the elements of one step are contiguous.
#pragma once

#include "kernels/launch/cpu/simd.h"

namespace tessera {
namespace {

struct Pair {
  bf16 first, second;
};

template <class E>
struct ElementTraits {
  using Sum = E;
  static constexpr int kPack = 1;
};
template <>
struct ElementTraits<Pair> {
  using Sum = float;
  static constexpr int kPack = 2;
};
template <class E>
using sum_t = typename ElementTraits<E>::Sum;
// Values of the matrix in one element, along the reduction.
template <class E>
inline constexpr int kPack = ElementTraits<E>::kPack;
template <class E>
inline constexpr int kLanes = Vec<sum_t<E>>::kLanes;
template <class E>
inline constexpr int kPanel = 2 * kLanes<E>;

// Rows of a full tile: its sums and operands fill the registers (32 with AVX-512, else 16). Tiles
// of one and two thirds of it serve the rest of a block, so blocks of rows are padded to kRowStep.
#ifdef __AVX512F__
inline constexpr int kTileRows = 12;
#else
inline constexpr int kTileRows = 6;
#endif
inline constexpr int kRowStep = kTileRows / 3;

template <class E>
struct Operand {
  const E* data;
  int64_t row, step;  // strides
};

template <class E>
struct Panels {
  const E* data;
  int64_t step, panel;  // strides
};

template <class T>
TESSERA_INLINE Vec<T> multiply_add(const T* a, Vec<T> b, Vec<T> sum) {
  return fma(Vec<T>(*a), b, sum);
}
template <class T>
TESSERA_INLINE Vec<T> load_elements(const T* p) {
  return Vec<T>::load(p);
}
#ifdef __AVX512BF16__
TESSERA_INLINE Vec<float> load_elements(const Pair* p) {
  return Vec<float>::load(reinterpret_cast<const float*>(p));
}
TESSERA_INLINE Vec<float> multiply_add(const Pair* a, Vec<float> b, Vec<float> sum) {
  int32_t bits;
  std::memcpy(&bits, a, sizeof(bits));
  return _mm512_dpbf16_ps(sum.raw, (__m512bh)_mm512_set1_epi32(bits),
                          (__m512bh)_mm512_castps_si512(b.raw));
}
// Rounds both to bf16 and joins them lane by lane; the vector's lanes hold Pairs.
TESSERA_INLINE Vec<float> pair_up(Vec<float> first, Vec<float> second) {
  const __m512i low = _mm512_cvtepu16_epi32(to_bf16_bits(first.raw));
  const __m512i high = _mm512_cvtepu16_epi32(to_bf16_bits(second.raw));
  return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
#endif

// What becomes of the sums that C holds.
enum class Update {
  set,      // C = A B
  add,      // C += A B
  rescale,  // C = factors[row] * C + A B
};

// c [kRows, kVecs * lanes], updated with the sum over `steps` of a(row, step) * b(step, columns).
template <class E, int kRows, int kVecs, Update kUpdate>
[[gnu::noinline]] void multiply_tile(int64_t steps, Operand<E> a, const E* b, int64_t b_step,
                                     sum_t<E>* c, int64_t c_row, const sum_t<E>* factors) {
  using V = Vec<sum_t<E>>;
  constexpr int kL = V::kLanes, kGroups = (kRows + 2) / 3;
  V sum[kRows][kVecs];
#pragma GCC unroll 16
  for (auto& row : sum) {
#pragma GCC unroll 4
    for (V& x : row) x = V::zero();
  }
  const E* group[kGroups];  // one pointer serves three rows: base, + row, + 2 * row
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) group[g] = a.data + 3 * g * a.row;
  for (int64_t s = 0; s < steps; ++s) {
    V columns[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) columns[v] = load_elements(b + v * kL);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        sum[i][v] = multiply_add(group[i / 3] + (i % 3) * a.row, columns[v], sum[i][v]);
      }
    }
    b += b_step;
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) group[g] += a.step;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i, c += c_row) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      V total = sum[i][v];
      if constexpr (kUpdate == Update::add) total += V::load(c + v * kL);
      if constexpr (kUpdate == Update::rescale) {
        total = fma(V(factors[i]), V::load(c + v * kL), total);
      }
      total.store(c + v * kL);
    }
  }
}

template <class E>
using TileFunction = void (*)(int64_t, Operand<E>, const E*, int64_t, sum_t<E>*, int64_t,
                              const sum_t<E>*);

// Row `i` is for (i + 1) * kRowStep rows, column j for j + 1 vectors.
template <class E, Update kUpdate>
constexpr TileFunction<E> kTiles[3][2] = {
    {multiply_tile<E, kRowStep, 1, kUpdate>, multiply_tile<E, kRowStep, 2, kUpdate>},
    {multiply_tile<E, 2 * kRowStep, 1, kUpdate>, multiply_tile<E, 2 * kRowStep, 2, kUpdate>},
    {multiply_tile<E, 3 * kRowStep, 1, kUpdate>, multiply_tile<E, 3 * kRowStep, 2, kUpdate>}};

template <class E>
TESSERA_INLINE const TileFunction<E>* tiles_for(Update update, int rows) {
  const int i = rows / kRowStep - 1;
  return update == Update::set   ? kTiles<E, Update::set>[i]
         : update == Update::add ? kTiles<E, Update::add>[i]
                                 : kTiles<E, Update::rescale>[i];
}

struct Range {
  int64_t begin, end;
  bool empty() const { return begin >= end; }
};

// Updates c(row, column) with the sum over steps of a(row, step) * b(step, column), for rows
// 0 .. rows - 1 (a multiple of kRowStep, at most kTileRows) and `columns`, bounded by multiples of
// 16. c points to column 0.
template <class E>
TESSERA_INLINE void multiply(Update update, int rows, Operand<E> a, Panels<E> b, Range columns,
                             Range steps, sum_t<E>* c, int64_t c_row,
                             const sum_t<E>* factors = nullptr) {
  constexpr int kP = kPanel<E>;
  const TileFunction<E>* tiles = tiles_for<E>(update, rows);
  a.data += steps.begin * a.step;
  for (int64_t column = columns.begin; column < columns.end;) {
    const bool whole = column % kP == 0 && column + kP <= columns.end;
    const E* panel = b.data + column / kP * b.panel + steps.begin * b.step + column % kP;
    tiles[whole](steps.end - steps.begin, a, panel, b.step, c + column, c_row, factors);
    column += whole ? kP : kLanes<E>;
  }
}

}  // namespace
}  // namespace tessera
