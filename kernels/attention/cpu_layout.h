// How the CPU kernels cut the work in blocks, and what they keep in the workspace: functions of
// sizes alone, the same for the code that plans memory and for the kernels of every instruction-set
// level.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/cpu.h"

namespace tessera {
namespace {

// Rows of a block of queries: packed once, then multiplied with every visible block of keys.
constexpr int64_t kQueryBlock = 96;
// Columns are computed in units of kColumnUnit; panels are at most kMaxPanel columns wide.
constexpr int64_t kColumnUnit = 16, kMaxPanel = 32;
// Segments start at multiples of this in padded arrays.
constexpr int64_t kRowUnit = 32;
constexpr int64_t kMaxTileRows = 12;
// Forward takes the queries of a block in strips: the f32 scores of one against a block of keys are
// 32 KiB.
constexpr int64_t kStrip = kMaxPanel;

constexpr int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
constexpr int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}
constexpr int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr int64_t round_up(int64_t a, int64_t b) {
  return divide_up(a, b) * b;
}

// Rows of a block of keys. Packed, with their gradients, they stay in a second-level cache of 1 MiB
// up to D = 128; beyond, the fewer passes over the sums still outweigh that (Zen 4,
// D = 256, backward: 256 rows 6% faster than 128).
constexpr int64_t kKeyBlock = 256;

// What the matrix products work on (see cpu_tile.h).
struct ElementFormat {
  int64_t bytes;      // of an element
  int64_t pack;       // values in it
  int64_t sum_bytes;  // of the sums
};
constexpr ElementFormat element_format(DType dtype, Isa isa) {
  if (dtype == DType::f64) return {8, 1, 8};
  return {4, dtype == DType::bf16 && isa == Isa::avx512_bf16 ? 2 : 1, 4};
}

// Row strides that are no multiple of a large power of two keep rows out of each other's cache
// sets.
constexpr int64_t padded_stride(int64_t columns) {
  return round_up(columns, kColumnUnit) + 16;
}

// Of rows of scores.
constexpr int64_t kScoreStride = padded_stride(kKeyBlock);
// Of rows of scores whose neighbours are packed in elements of `pack` values.
constexpr int64_t packed_score_stride(int64_t pack) {
  return padded_stride(kKeyBlock / pack);
}

struct HeadLayout {
  int64_t steps;       // elements of a row along the head dimension
  int64_t row_stride;  // of packed rows, in elements
  int64_t columns;     // head dimension in whole column units
  int64_t panels;      // in whole panels, of any width
  int64_t sum_stride;  // of rows of sums
};
constexpr HeadLayout head_layout(int64_t head_dim, const ElementFormat& format) {
  const int64_t steps = divide_up(head_dim, format.pack), columns = round_up(head_dim, kColumnUnit);
  return {steps, padded_stride(steps), columns, round_up(head_dim, kMaxPanel),
          padded_stride(columns)};
}

// First row of a segment that starts at token `first`, in an array where every segment is padded to
// kRowUnit.
constexpr int64_t padded_start(int64_t first, int64_t segment) {
  return (first / kRowUnit + segment) * kRowUnit;
}
constexpr int64_t padded_rows(int64_t tokens, int64_t segments) {
  return (tokens / kRowUnit + segments) * kRowUnit;
}

// Whether the last round of `units` tasks of equal size leaves few threads idle.
constexpr bool keep_busy(int64_t units, int64_t threads) {
  return threads == 1 || units * 5 >= round_up(units, threads) * 4;
}

// A unit is one kv head of one segment with its group of query heads. If the units are enough to
// keep all threads busy, each is done by one thread, which keeps its operands in that thread's
// cache; otherwise the threads share them. Sharing needs room for all segments at once, which
// documents of unknown number do not have.
constexpr bool one_thread_per_unit(const AttentionProblem& p, int64_t threads) {
  if (p.documents) return true;
  const bool equal = p.max_q * p.segments == p.q_tokens && p.max_k * p.segments == p.k_tokens;
  return keep_busy(equal ? p.segments * p.kv_heads : p.kv_heads, threads);
}

// Documents with more than half of a thread's part of the tokens are shared one after the other, if
// the kv heads of one are too few for the threads.
constexpr bool shares_long_documents(const AttentionProblem& p, int64_t threads) {
  return p.documents && !keep_busy(p.kv_heads, threads);
}
constexpr bool is_shared_document(const AttentionProblem& p, int64_t threads, int64_t segment) {
  return shares_long_documents(p, threads) &&
         (p.cu_q[segment + 1] - p.cu_q[segment]) * 2 * threads > p.q_tokens;
}

// Room for one unit a thread, or for all kv heads of a segment or of all.
constexpr int64_t units_at_once(const AttentionProblem& p, int64_t threads) {
  if (!one_thread_per_unit(p, threads)) return p.kv_heads;
  return shares_long_documents(p, threads) ? larger(threads, p.kv_heads) : threads;
}

// Hands out 64-byte aligned pieces of a workspace; with a null base it only counts.
class Arena {
 public:
  explicit constexpr Arena(std::byte* base) : base_(base) {}
  constexpr std::byte* take(int64_t bytes) {
    std::byte* piece = base_ ? base_ + used_ : nullptr;
    used_ += size_t(round_up(bytes, 64));
    return piece;
  }
  constexpr size_t used() const { return used_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
};

// Scratch of one thread in forward.
struct ForwardScratch {
  std::byte* queries;                        // transposed panels [queries, steps]
  std::byte* output;                         // sums [queries, D]
  std::byte *scores, *probabilities, *keep;  // [keys, kStrip]; pairs of keys in probabilities

  constexpr ForwardScratch(Arena& arena, const AttentionProblem& p, const ElementFormat& f)
      : queries(arena.take(kQueryBlock * head_layout(p.head_dim, f).steps * f.bytes)),
        output(arena.take(kQueryBlock * head_layout(p.head_dim, f).sum_stride * f.sum_bytes)),
        scores(arena.take(kKeyBlock * kStrip * f.sum_bytes)),
        probabilities(arena.take(f.pack == 1 ? 0 : kKeyBlock / f.pack * kStrip * f.bytes)),
        keep(arena.take(p.dropout > 0 ? kKeyBlock * kStrip * f.sum_bytes : 0)) {}
};

// Packed keys and values of the units at once.
struct PackedKeys {
  int64_t unit_rows;  // key rows of all segments in `units`
  int64_t units;
  std::byte *keys, *values;

  constexpr PackedKeys(Arena& arena, const AttentionProblem& p, const ElementFormat& f, int threads)
      : unit_rows(one_thread_per_unit(p, threads) ? round_up(p.max_k, kRowUnit)
                                                  : padded_rows(p.k_tokens, p.segments)),
        units(units_at_once(p, threads)),
        keys(arena.take(units * unit_rows * key_bytes(p, f))),
        values(arena.take(units * unit_rows * value_bytes(p, f))) {}

  // Of one row.
  static constexpr int64_t key_bytes(const AttentionProblem& p, const ElementFormat& f) {
    return head_layout(p.head_dim, f).steps * f.bytes;
  }
  static constexpr int64_t value_bytes(const AttentionProblem& p, const ElementFormat& f) {
    return head_layout(p.head_dim, f).panels * f.bytes / f.pack;
  }
};

// Scratch of one thread in backward: the operands and gradients of a block of keys, and a block of
// queries.
struct BackwardScratch {
  std::byte *keys, *values;                   // transposed panels [keys, steps]
  std::byte* key_panels;                      // [D, keys]
  std::byte *dk, *dv;                         // sums [keys, D]
  std::byte *queries, *d_output;              // rows [queries, steps]
  std::byte *query_panels, *d_output_panels;  // [D, queries], for pairs only
  std::byte *probabilities, *d_scores;        // [queries, keys]; pairs: [queries / 2, keys]
  std::byte *tile_p, *tile_ds, *tile_pairs;   // one tile of rows, for pairs only
  std::byte* keep;

  constexpr BackwardScratch(Arena& arena, const AttentionProblem& p, const ElementFormat& f) {
    const HeadLayout head = head_layout(p.head_dim, f);
    const bool pairs = f.pack > 1;
    keys = arena.take(kKeyBlock * head.steps * f.bytes);
    values = arena.take(kKeyBlock * head.steps * f.bytes);
    key_panels = arena.take(kKeyBlock / f.pack * head.panels * f.bytes);
    dk = arena.take(kKeyBlock * head.sum_stride * f.sum_bytes);
    dv = arena.take(kKeyBlock * head.sum_stride * f.sum_bytes);
    queries = arena.take(kQueryBlock * head.row_stride * f.bytes);
    d_output = arena.take(kQueryBlock * head.row_stride * f.bytes);
    query_panels = arena.take(pairs ? kQueryBlock / f.pack * head.panels * f.bytes : 0);
    d_output_panels = arena.take(pairs ? kQueryBlock / f.pack * head.panels * f.bytes : 0);
    probabilities = arena.take(kQueryBlock / f.pack * kScoreStride * f.bytes);
    d_scores = arena.take(kQueryBlock / f.pack * kScoreStride * f.bytes);
    tile_p = arena.take(pairs ? kMaxTileRows * kScoreStride * f.sum_bytes : 0);
    tile_ds = arena.take(pairs ? kMaxTileRows * kScoreStride * f.sum_bytes : 0);
    tile_pairs = arena.take(pairs ? kMaxTileRows * packed_score_stride(f.pack) * f.bytes : 0);
    keep = arena.take(p.dropout > 0 ? 2 * kScoreStride * f.sum_bytes : 0);
  }
};

// Per query row: the gradient's sums, lse, and rowsum(o * d_o) - d_lse, for the query heads of the
// units at once; `progress` has one counter per block of queries that threads share.
struct QueryGradients {
  int64_t head_rows;  // rows of a query head
  int64_t heads;
  int64_t head_blocks;
  std::byte *dq, *lse, *delta, *progress;

  constexpr QueryGradients(Arena& arena, const AttentionProblem& p, const ElementFormat& f,
                           int threads) {
    const bool one = one_thread_per_unit(p, threads);
    head_rows = one ? round_up(p.max_q, kRowUnit) : padded_rows(p.q_tokens, p.segments);
    heads = units_at_once(p, threads) * (p.q_heads / p.kv_heads);
    head_blocks = !one                                ? p.q_tokens / kQueryBlock + p.segments
                  : shares_long_documents(p, threads) ? p.max_q / kQueryBlock + 1
                                                      : 0;
    dq = arena.take(heads * head_rows * head_layout(p.head_dim, f).sum_stride * f.sum_bytes);
    lse = arena.take(heads * head_rows * f.sum_bytes);
    delta = arena.take(heads * head_rows * f.sum_bytes);
    progress = arena.take(heads * head_blocks * int64_t(sizeof(int64_t)));
  }
  // First counter of a segment.
  static constexpr int64_t block_start(int64_t first, int64_t segment) {
    return first / kQueryBlock + segment;
  }
};

}  // namespace
}  // namespace tessera
