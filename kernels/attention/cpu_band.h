// Which keys a query sees: a band around the diagonal, from causality and the window.
#pragma once

#include "kernels/attention/cpu_layout.h"
#include "kernels/attention/cpu_tile.h"

namespace tessera {
namespace {

// One segment: queries and keys are numbered from its start.
struct Band {
  int64_t queries, keys;
  int64_t left, right;  // query i sees keys i - left .. i + right; both may be negative

  Band(const AttentionProblem& p, int64_t segment)
      : queries(p.cu_q[segment + 1] - p.cu_q[segment]),
        keys(p.cu_k[segment + 1] - p.cu_k[segment]) {
    constexpr int64_t kUnlimited = int64_t{1} << 40;
    const int64_t diagonal = keys - queries;
    const int64_t window_left = p.window_left < 0 ? kUnlimited : smaller(p.window_left, kUnlimited);
    int64_t window_right = p.window_right < 0 ? kUnlimited : smaller(p.window_right, kUnlimited);
    if (p.causal) window_right = 0;
    left = window_left - diagonal;
    right = window_right + diagonal;
  }

  // Keys that at least one of the queries of a nonempty range sees.
  TESSERA_INLINE Range keys_of(Range rows) const {
    return {larger(0, rows.begin - left), smaller(keys, rows.end + right)};
  }
  // Keys that all of them see.
  TESSERA_INLINE Range keys_of_all(Range rows) const {
    return {larger(0, rows.end - 1 - left), smaller(keys, rows.begin + right + 1)};
  }
  // Queries that see at least one of the keys of a nonempty range.
  TESSERA_INLINE Range queries_of(Range columns) const {
    return {larger(0, columns.begin - right), smaller(queries, columns.end + left)};
  }
};

// The blocks of `size` that cover `range`.
TESSERA_INLINE Range blocks_of(Range range, int64_t size) {
  if (range.empty()) return {0, 0};
  return {range.begin / size, divide_up(range.end, size)};
}

TESSERA_INLINE Range intersect(Range a, Range b) {
  return {larger(a.begin, b.begin), smaller(a.end, b.end)};
}
TESSERA_INLINE Range shift(Range a, int64_t by) {
  return {a.begin + by, a.end + by};
}

}  // namespace
}  // namespace tessera
