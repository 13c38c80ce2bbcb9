// Which blocks of rows there are, and which keys a query sees.
#pragma once

#include "kernels/attention/problem.h"
#include "kernels/launch/gpu/device.h"

namespace tessera::gpu {
namespace {

struct Range {
  int begin, end;
  __device__ bool empty() const { return end <= begin; }
};

// Blocks of `size` rows of every segment, and of the tokens after the last one as a further
// segment, as slots: segment s has those from start / size + s on, at least as many as it needs.
constexpr unsigned block_slots(int64_t tokens, int64_t segments, int size) {
  return unsigned(tokens / size + segments + 1);
}

struct BlockPlace {
  int segment;  // `segments`: the tokens after the last segment
  int first;    // row of the segment
  int token;    // of `first`
  int rows;     // from `first` to the segment's end; none: the slot is empty
  // Row of the segment behind the block of `size` rows.
  __device__ int end(int size) const { return first + min(size, rows); }
};

// The blocks of `size` that cover a range.
__device__ inline Range blocks_of(Range range, int size) {
  if (range.empty()) return {0, 0};
  return {range.begin / size, (range.end + size - 1) / size};
}

__device__ inline BlockPlace block_at(int slot, const int32_t* starts, int segments, int tokens,
                                      int size) {
  int low = 0, high = segments + 1;  // low's first slot <= slot < high's
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (starts[middle] / size + middle <= slot) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const int start = starts[low], end = low == segments ? tokens : starts[low + 1];
  const int first = (slot - (start / size + low)) * size;
  return {low, first, start + first, end - start - first};
}

// One segment, whose queries and keys are numbered from its start: query i sees the keys
// i - left .. i + right. Both may be negative.
struct Band {
  int queries, keys, left, right;
  int first_query, first_key;  // tokens

  __device__ Band(const AttentionProblem& p, int segment) {
    const bool outside = segment == int(p.segments);
    first_query = p.cu_q[segment];
    first_key = p.cu_k[segment];
    queries = outside ? 0 : p.cu_q[segment + 1] - first_query;
    keys = outside ? 0 : p.cu_k[segment + 1] - first_key;
    const int64_t diagonal = keys - queries;
    left = clamp((p.window_left < 0 ? kUnlimited : p.window_left) - diagonal);
    const int64_t window_right = p.window_right < 0 ? kUnlimited : p.window_right;
    right = clamp((p.causal ? 0 : window_right) + diagonal);
  }

  // Keys that at least one of a nonempty range of queries sees; likewise queries.
  __device__ Range keys_of(int begin, int end) const {
    return {max(0, begin - left), min(keys, end + right)};
  }
  __device__ Range queries_of(int begin, int end) const {
    return {max(0, begin - right), min(queries, end + left)};
  }
  // Keys that one query of the segment sees, counted from key `first`.
  __device__ Range seen_by(int query, int first) const {
    const int place = query - first;
    return {max(-first, place - left), min(keys - first, place + right + 1)};
  }
  __device__ bool sees(int query, int key) const {
    return query < queries && key < keys && key >= query - left && key <= query + right;
  }
  // Whether each of n queries from `query` on sees each of m keys from `key` on.
  __device__ bool sees_all(int query, int n, int key, int m) const {
    return query + n <= queries && key + m <= keys && key >= query + n - 1 - left &&
           key + m - 1 <= query + right;
  }

 private:
  // Beyond all differences of positions, which are below 2^29 (kMaxGpuTokens); sums with a position
  // fit an int.
  static constexpr int64_t kUnlimited = int64_t{1} << 40;
  __device__ static int clamp(int64_t x) {
    constexpr int64_t kLimit = int64_t{1} << 30;
    return int(x > kLimit ? kLimit : x < -kLimit ? -kLimit : x);
  }
};

}  // namespace
}  // namespace tessera::gpu
