// What forward and backward share: addressing of rows, rows that belong to no segment, results on
// their way out.
#pragma once

#include "kernels/attention/cpu_band.h"
#include "kernels/attention/cpu_pack.h"

namespace tessera {
namespace {

// The element that products of storage type S are made of (element_format() is the same choice).
template <class S>
struct ElementOf {
  using Type = compute_t<S>;
};
#ifdef __AVX512BF16__
template <>
struct ElementOf<bf16> {
  using Type = Pair;
};
#endif

template <class S>
TESSERA_INLINE S* row_of(const AttentionArray& array, int64_t token, int64_t head) {
  return static_cast<S*>(array.data) + token * array.token_stride + head * array.head_stride;
}

template <class S>
TESSERA_INLINE Source<S> rows_of(const AttentionArray& array, int64_t token, int64_t head,
                                 int64_t rows, int64_t columns) {
  return {row_of<S>(array, token, head), array.token_stride, rows, columns};
}

// target = factor * sums, rounded to the storage type.
template <class S>
TESSERA_INLINE void write_row(const compute_t<S>* sums, compute_t<S> factor, S* target,
                              int64_t columns) {
  using V = Vec<compute_t<S>>;
  const V f(factor);
  int64_t c = 0;
  for (; c + V::kLanes <= columns; c += V::kLanes) (V::load(sums + c) * f).store(target + c);
  if (c < columns) (V::load(sums + c) * f).store_first(target + c, int(columns - c));
}

template <class S>
TESSERA_INLINE void zero_row(S* target, int64_t columns) {
  std::memset(static_cast<void*>(target), 0, size_t(columns) * sizeof(S));
}

template <class S>
void zero_rows(const AttentionArray& array, Range tokens, int64_t heads, int64_t columns) {
  for (int64_t token = tokens.begin; token < tokens.end; ++token) {
    for (int64_t head = 0; head < heads; ++head) {
      zero_row(row_of<S>(array, token, head), columns);
    }
  }
}

// The blocks of some neighbouring segments, each segment's padded by at most one: slot s holds
// block `block` of `segment`, or nothing.
struct BlockSlots {
  const int32_t* starts;  // cu_q or cu_k
  Range segments;
  int64_t size;

  int64_t count() const { return first(segments.end); }
  int64_t first(int64_t segment) const {
    return (starts[segment] - starts[segments.begin]) / size + segment - segments.begin;
  }
  // False for an empty slot.
  bool locate(int64_t slot, int64_t& segment, int64_t& block) const {
    int64_t low = segments.begin, high = segments.end;  // first(low) <= slot < first(high)
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (first(middle) <= slot ? low : high) = middle;
    }
    segment = low;
    block = slot - first(low);
    return block * size < starts[segment + 1] - starts[segment];
  }
};

// The exponents of the softmax are `outer` times what the products give, or with a softcap `outer`
// times tanh(inner * what the products give).
struct ScoreScale {
  double inner, outer;
  double exponent;  // outer * log2(e), for exp2
  bool capped;

  explicit ScoreScale(const AttentionProblem& p)
      : inner(p.softcap > 0 ? p.scale / p.softcap : 0),
        outer(p.softcap > 0 ? p.softcap : p.scale),
        exponent(outer * 1.4426950408889634),
        capped(p.softcap > 0) {}
};

// What a head's ALiBi and sink add, in units of ScoreScale's `outer`, as scores are before it.
template <class T>
struct HeadScores {
  bool biased, has_sink;
  T slope, sink;

  HeadScores(const AttentionExtras& extras, const ScoreScale& scale, int64_t head)
      : biased(extras.alibi_slopes != nullptr),
        has_sink(extras.sink != nullptr),
        slope(biased ? T(extras.alibi_slopes[head] / scale.outer) : T(0)),
        sink(has_sink ? T(static_cast<const T*>(extras.sink)[head] / scale.outer) : T(0)) {}
};

// first, first + 1, ...: distances of neighbouring lanes.
template <class V, class T>
TESSERA_INLINE V counting_from(T first) {
  alignas(64) T numbers[V::kLanes];
  for (int i = 0; i < V::kLanes; ++i) numbers[i] = T(i);
  return V(first) + V::load(numbers);
}

TESSERA_INLINE Range whole_units(Range columns) {
  return {columns.begin / kColumnUnit * kColumnUnit, round_up(columns.end, kColumnUnit)};
}

// Rows of the next tile when `left` rows of a block are left: whole steps, so that it may cover
// padding.
TESSERA_INLINE int tile_rows(int64_t left) {
  return int(smaller(kTileRows, round_up(left, kRowStep)));
}

}  // namespace
}  // namespace tessera
