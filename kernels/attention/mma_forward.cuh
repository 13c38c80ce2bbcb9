// Flash attention forward: a block owns some queries of one head and walks over the visible blocks
// of keys. While it multiplies queries with keys, the values arrive; while it sums up values, the
// next keys do.
#pragma once

#include "kernels/attention/mma_configs.cuh"
#include "kernels/attention/mma_softmax.cuh"
#include "kernels/launch/gpu/launch.h"

namespace tessera::gpu {
namespace {

template <class C>
struct ForwardTiles {
  using Of = Tile<typename C::S, C::kD>;
  static constexpr int kBytes = Of::bytes(C::kRows + 2 * C::kColumns);
  Of q, k, v;

  __device__ ForwardTiles()
      : q{dynamic_shared<128>()},
        k{q.data + Of::bytes(C::kRows)},
        v{k.data + Of::bytes(C::kColumns)} {}
};

// One block of queries of one head.
template <class C>
struct ForwardBlock {
  const AttentionForwardGpu& args;
  const BlockPlace& place;
  const Band& band;
  int head, kv_head;
  Range blocks;  // of keys

  __device__ int warp_query() const { return place.first + C::warp_row(); }

  __device__ void load_keys(const AttentionArray& array, int block,
                            Tile<typename C::S, C::kD> tile) const {
    if (block >= blocks.end) return;
    const int key = block * C::kColumns;
    load_tile<C::kColumns, C::kThreads>(
        tile, rows_of<const typename C::S>(array, band.first_key + key, kv_head, band.keys - key),
        int(args.problem.head_dim));
  }
};

// Scores of products, -infinity where a key is not visible.
template <class C>
__device__ inline void to_scores(const ForwardBlock<C>& block,
                                 const ScoreTerms<typename C::S, C::kExtras>& terms, int key,
                                 typename C::Scores& s) {
  using T = typename C::T;
  const int query = block.warp_query();
  if constexpr (C::kExtras) terms.apply(s, query, key);
  if (block.band.sees_all(query, C::kWarpRows, key, C::kColumns)) return;
  const int first_column = key + lane() % 4 * 2;
#pragma unroll
  for (int i = 0; i < 2 * C::R; ++i) {
    const Range columns = block.band.seen_by(query + lane() / 4 + 8 * i, first_column);
    s.each_in_row(i / 2, i % 2, [&](T& x, int column) {
      if (column < columns.begin || column >= columns.end) x = -kInfinity<T>;
    });
  }
}

template <class C>
__device__ inline void drop(const ForwardBlock<C>& block, DropoutMask& mask, int key,
                            typename C::Scores& p) {
  const int query = block.band.first_query + block.warp_query();
  p.each([&](typename C::T& x, int, int, int row, int column) {
    if (!mask.keeps(block.head, query + row, block.band.first_key + key + column)) x = 0;
  });
}

template <class C>
__device__ inline void walk_keys(const ForwardBlock<C>& block, const ForwardTiles<C>& tiles,
                                 Softmax<C>& softmax, typename C::Out& out) {
  const AttentionForwardGpu& args = block.args;
  const int head_dim = int(args.problem.head_dim);
  const ScoreTerms<typename C::S, C::kExtras> terms(args.problem, args.extras, block.band,
                                                    block.head);
  DropoutMask mask(args.problem);
  for (int i = block.blocks.begin; i < block.blocks.end; ++i) {
    cp_async_wait<0>();
    sync_block();  // the keys are there, and the values of the step before are done with
    block.load_keys(args.v, i, tiles.v);
    cp_async_commit();
    typename C::Scores s;
    multiply_nt(s, tiles.q, C::warp_row(), tiles.k, head_dim);
    to_scores(block, terms, i * C::kColumns, s);
    cp_async_wait<0>();
    sync_block();  // the values are there, and the keys are done with
    block.load_keys(args.k, i + 1, tiles.k);
    cp_async_commit();
    softmax.step(s, out);
    if constexpr (C::kExtras) {
      if (mask.active()) drop(block, mask, i * C::kColumns, s);
    }
    multiply_nn(out, s, tiles.v, C::warp_column(), head_dim);
  }
}

// Where a split of the keys leaves its results for the combination: o [splits, Hq, Nq, D] and lse
// [splits, Hq, Nq].
template <class T>
struct Partials {
  T *o, *lse;

  __device__ explicit Partials(const AttentionForwardGpu& args)
      : o(static_cast<T*>(args.workspace)),
        lse(o +
            args.splits * args.problem.q_heads * args.problem.q_tokens * args.problem.head_dim) {}
};

template <class C>
__device__ inline void finish(const ForwardBlock<C>& block, const ForwardTiles<C>& tiles,
                              const Softmax<C>& softmax, typename C::Out& out) {
  using T = typename C::T;
  const AttentionForwardGpu& args = block.args;
  const AttentionProblem& p = args.problem;
  const int split = int(block_index().z), D = int(p.head_dim);
  const bool whole = args.splits == 1;
  T lse[C::R][2], factor[C::R][2];
  const bool has_sink =
      C::kExtras && whole && args.extras.sink && block.place.segment < int(p.segments);
  softmax.finish(has_sink ? sink_of<T>(args.extras, block.head) : -kInfinity<T>, lse, factor);
  const Partials<T> partials(args);
  const int64_t row0 = (split * p.q_heads + block.head) * p.q_tokens + block.place.token;
  T* lse_out = (whole ? static_cast<T*>(args.lse) : partials.lse) + row0;
  const bool writes_lse = lane() % 4 == 0 && C::warp_column() == 0;
#pragma unroll
  for (int i = 0; i < 2 * C::R; ++i) {
    const int row = C::warp_row() + lane() / 4 + 8 * i;
    if (writes_lse && row < block.place.rows) lse_out[row] = lse[i / 2][i % 2];
    factor[i / 2][i % 2] /= T(1 - p.dropout);
  }
  const auto factor_of = [&](int r, int half) { return factor[r][half]; };
  if (whole) {
    store_rows<C>(out, tiles.q,
                  rows_of<typename C::S>(args.o, block.place.token, block.head, block.place.rows),
                  D, factor_of);
  } else {
    out.each([&](T& value, int r, int half, int row, int column) {
      const int at = C::warp_row() + row, d = C::warp_column() + column;
      if (at < block.place.rows && d < D)
        partials.o[(row0 + at) * D + d] = value * factor_of(r, half);
    });
  }
}

__device__ inline Range part_of(Range range, int part, int parts) {
  const int64_t count = range.end - range.begin;
  return {range.begin + int(count * part / parts), range.begin + int(count * (part + 1) / parts)};
}

// Grid: slots of blocks of queries, the last first (with causality they are the longest); heads;
// splits of the keys.
template <class C>
__global__ void __launch_bounds__(C::kThreads) attention_forward_kernel(AttentionForwardGpu args) {
  const AttentionProblem& p = args.problem;
  const int slot = int(grid_size().x - 1 - block_index().x);
  const BlockPlace place = block_at(slot, p.cu_q, int(p.segments), int(p.q_tokens), C::kRows);
  if (place.rows <= 0) return;
  const Band band(p, place.segment);
  const Range blocks = blocks_of(band.keys_of(place.first, place.end(C::kRows)), C::kColumns);
  const int head = int(block_index().y);
  const ForwardBlock<C> block{.args = args,
                              .place = place,
                              .band = band,
                              .head = head,
                              .kv_head = head / int(p.q_heads / p.kv_heads),
                              .blocks = part_of(blocks, int(block_index().z), args.splits)};
  const ForwardTiles<C> tiles;
  load_tile<C::kRows, C::kThreads>(
      tiles.q, rows_of<const typename C::S>(args.q, place.token, head, place.rows),
      int(p.head_dim));
  block.load_keys(args.k, block.blocks.begin, tiles.k);
  cp_async_commit();
  using T = typename C::T;
  Softmax<C> softmax(C::kExtras ? kLog2E<T> : T(p.scale * kLog2E<double>));
  typename C::Out out;
  walk_keys(block, tiles, softmax, out);
  cp_async_wait<0>();
  sync_block();  // the tile of the queries is free
  finish(block, tiles, softmax, out);
}

// The splits' results weighted by their shares of the softmax. A warp for each row and head.
constexpr int kCombineThreads = 128;
template <class S>
__global__ void __launch_bounds__(kCombineThreads)
    attention_combine_kernel(AttentionForwardGpu args) {
  using T = Wide<S>;
  const AttentionProblem& p = args.problem;
  const int64_t rows = p.q_heads * p.q_tokens;
  const int64_t row = int64_t(block_index().x) * (kCombineThreads / kWarpSize) + warp();
  if (row >= rows) return;
  const Partials<T> partials(args);
  const int64_t head = row / p.q_tokens, token = row % p.q_tokens;
  const bool has_sink = args.extras.sink && token < p.cu_q[p.segments];
  const T sink = has_sink ? sink_of<T>(args.extras, head) : -kInfinity<T>;
  T largest = sink;
  for (int i = 0; i < args.splits; ++i) largest = max(largest, partials.lse[i * rows + row]);
  const T shift = largest == -kInfinity<T> ? T(0) : largest;
  T sum = std::exp(sink - shift);
  for (int i = 0; i < args.splits; ++i) sum += std::exp(partials.lse[i * rows + row] - shift);
  S* o = static_cast<S*>(args.o.data) + token * args.o.token_stride + head * args.o.head_stride;
  for (int d = lane(); d < p.head_dim; d += kWarpSize) {
    T value = 0;
    for (int i = 0; i < args.splits; ++i) {
      const T share = std::exp(partials.lse[i * rows + row] - shift);
      value = fma(share, partials.o[(i * rows + row) * p.head_dim + d], value);
    }
    o[d] = narrow<S>(sum == 0 ? T(0) : value / sum);
  }
  if (lane() == 0)
    static_cast<T*>(args.lse)[row] = sum == 0 ? -kInfinity<T> : shift + std::log(sum);
}

template <class C>
void forward(Context& ctx, const AttentionForwardGpu& args) {
  const AttentionProblem& p = args.problem;
  launch(ctx, attention_forward_kernel<C>,
         {.x = block_slots(p.q_tokens, p.segments, C::kRows),
          .y = unsigned(p.q_heads),
          .z = unsigned(args.splits),
          .threads = C::kThreads,
          .shared_bytes = ForwardTiles<C>::kBytes},
         args);
  if (args.splits == 1) return;
  constexpr int kRows = kCombineThreads / kWarpSize;
  launch(ctx, attention_combine_kernel<typename C::S>,
         {.x = unsigned((p.q_heads * p.q_tokens + kRows - 1) / kRows), .threads = kCombineThreads},
         args);
}

}  // namespace
}  // namespace tessera::gpu
