// dk and dv: a block owns some keys of one head of keys and walks over the blocks of queries that
// see them, of every query head of the group. Scores are computed transposed, keys by queries, so
// that probabilities go from their registers into the products p^T d_o and ds^T q.
//
// With kAddsDq the block also adds its part of dq to f32 sums in the workspace, which saves the
// pass over queries, two of seven products, for atomic additions in no fixed order.
#pragma once

#include "kernels/attention/mma_backward.cuh"
#include "kernels/launch/gpu/launch.h"

namespace tessera::gpu {
namespace {

// Copies n values from `from` on, of which `count` exist; the others become 0.
template <class T>
__device__ inline void load_terms(T* to, const T* from, int n, int count) {
  const int i = int(thread_index().x);
  if (i >= n) return;
  if constexpr (sizeof(T) == 4) {
    cp_async_4(shared_address(to + i), from + i, i < count ? 4 : 0);
  } else {
    to[i] = i < count ? from[i] : T(0);
  }
}

// With the gradients of the scores, keys by queries, behind the others.
template <class C>
struct OnePassTiles {
  using Scores = Tile<typename C::S, C::kColumns>;
  static constexpr int kBytes = BackwardTiles<C>::kBytes + Scores::bytes(C::kRows);
};

template <class C, bool kAddsDq>
struct KeyBlock {
  using S = typename C::S;
  using T = typename C::T;

  const AttentionBackwardGpu& args;
  const BackwardTiles<C>& tiles;
  const Band& band;
  int kv_head;
  Range blocks;  // of queries
  int first;     // key of the warp's first row

  __device__ int group() const { return int(args.problem.q_heads / args.problem.kv_heads); }
  // A step for each query head and block of queries.
  __device__ int steps() const {
    return blocks.empty() ? 0 : group() * (blocks.end - blocks.begin);
  }
  __device__ int head_of(int step) const {
    return kv_head * group() + step / (blocks.end - blocks.begin);
  }
  __device__ int query_of(int step) const {
    return (blocks.begin + step % (blocks.end - blocks.begin)) * C::kColumns;
  }

  __device__ void load_queries(int step) const {
    if (step < steps()) {
      const int head = head_of(step), query = query_of(step), D = int(args.problem.head_dim);
      const int token = band.first_query + query, count = band.queries - query,
                stage = step % C::kStages;
      load_tile<C::kColumns, C::kThreads>(tiles.column(stage, 0),
                                          rows_of<const S>(args.q, token, head, count), D);
      load_tile<C::kColumns, C::kThreads>(tiles.column(stage, 1),
                                          rows_of<const S>(args.d_o, token, head, count), D);
      const RowTerms<T> terms(args);
      const int64_t row = int64_t(head) * args.problem.q_tokens + token;
      load_terms(tiles.terms(stage, 0), terms.lse + row, C::kColumns, count);
      load_terms(tiles.terms(stage, 1), terms.delta + row, C::kColumns, count);
    }
    cp_async_commit();
  }

  // dq += ds k for the step's queries: the block's gradients of scores meet in shared memory, and
  // each warp sums over all keys for 16 queries and half of the head dimension.
  __device__ void add_dq(int step, typename C::Scores& ds) const {
    static_assert(C::kColumns == 64 && C::kThreads == 8 * kWarpSize && C::R == 1);
    constexpr int kWidth = C::kD / 2;
    const typename OnePassTiles<C>::Scores tile{tiles.end()};
    store_sums(tile, ds, C::warp_row(), 0);
    sync_block();
    const int query_group = warp() % 4, first_column = warp() / 4 * kWidth;
    Sums<float, 1, kWidth> dq;
    const Patches<S, C::kColumns> a(tile, 0);
    const Patches<S, C::kD> b(tiles.rows[0], 0);
#pragma unroll 2
    for (int k = 0; k < C::kRows / 16; ++k) {
      uint32_t patch[4];
      ldmatrix_x4_trans(patch, a.at(16 * k, query_group));
      const uint32_t left[1][4] = {{patch[0], patch[2], patch[1], patch[3]}};
      multiply_step<S>(dq, left, b, 16 * k, first_column);
    }
    const int D = int(args.problem.head_dim), query = query_of(step) + 16 * query_group;
    const int64_t first_row =
        int64_t(head_of(step)) * args.problem.q_tokens + band.first_query + query;
    float* sums = RowTerms<float>(args).dq + first_row * D + first_column;
    const int rows = band.queries - query, columns = D - first_column;
    dq.each([&](float& value, int, int, int row, int column) {
      if (row < rows && column < columns) atomic_add(sums + row * D + column, value);
    });
  }

  __device__ void step(int step, typename C::Out& dk, typename C::Out& dv) const {
    const int D = int(args.problem.head_dim), stage = step % C::kStages, query = query_of(step);
    ScoreGradient<C> gradient(args, band, head_of(step));
    typename C::Scores p, ds;
    multiply_nt(p, tiles.rows[0], C::warp_row(), tiles.column(stage, 0), D);
    multiply_nt(ds, tiles.rows[1], C::warp_row(), tiles.column(stage, 1), D);
    const bool all_visible = band.sees_all(query, C::kColumns, first, C::kWarpRows);
    const T *lse = tiles.terms(stage, 0), *delta = tiles.terms(stage, 1);
    p.each_with(ds, [&](T& p_ij, T& d_p, int, int, int row, int column) {
      gradient(p_ij, d_p, lse[column], delta[column], query + column, first + row, all_visible);
    });
    multiply_nn(dv, p, tiles.column(stage, 1), C::warp_column(), D);
    multiply_nn(dk, ds, tiles.column(stage, 0), C::warp_column(), D);
    if constexpr (kAddsDq) add_dq(step, ds);
  }
};

// Grid: slots of blocks of keys (with causality the first are the longest); heads of keys.
template <class C, bool kAddsDq>
__global__ void __launch_bounds__(C::kThreads)
    attention_key_gradients_kernel(AttentionBackwardGpu args) {
  using S = typename C::S;
  using T = typename C::T;
  const AttentionProblem& p = args.problem;
  const int slot = int(block_index().x), kv_head = int(block_index().y), D = int(p.head_dim);
  const BlockPlace place = block_at(slot, p.cu_k, int(p.segments), int(p.k_tokens), C::kRows);
  if (place.rows <= 0) return;
  const Band band(p, place.segment);
  const BackwardTiles<C> tiles;
  const KeyBlock<C, kAddsDq> block{
      .args = args,
      .tiles = tiles,
      .band = band,
      .kv_head = kv_head,
      .blocks = blocks_of(band.queries_of(place.first, place.end(C::kRows)), C::kColumns),
      .first = place.first + C::warp_row()};
  load_tile<C::kRows, C::kThreads>(tiles.rows[0],
                                   rows_of<const S>(args.k, place.token, kv_head, place.rows), D);
  load_tile<C::kRows, C::kThreads>(tiles.rows[1],
                                   rows_of<const S>(args.v, place.token, kv_head, place.rows), D);
  block.load_queries(0);
  typename C::Out dk, dv;
  const int steps = block.steps();
  for (int i = 0; i < steps; ++i) {
    if constexpr (C::kStages == 2) block.load_queries(i + 1);
    cp_async_wait<C::kStages - 1>();
    sync_block();
    block.step(i, dk, dv);
    sync_block();
    if constexpr (C::kStages == 1) block.load_queries(i + 1);
  }
  cp_async_wait<0>();
  sync_block();
  const T dk_scale = T(p.scale), dv_scale = T(1 / (1 - p.dropout));
  store_rows<C>(dk, tiles.rows[0], rows_of<S>(args.dk, place.token, kv_head, place.rows), D,
                [&](int, int) { return dk_scale; });
  store_rows<C>(dv, tiles.rows[1], rows_of<S>(args.dv, place.token, kv_head, place.rows), D,
                [&](int, int) { return dv_scale; });
}

template <class C, bool kAddsDq>
void key_gradients(Context& ctx, const AttentionBackwardGpu& args) {
  launch(ctx, attention_key_gradients_kernel<C, kAddsDq>,
         {.x = block_slots(args.problem.k_tokens, args.problem.segments, C::kRows),
          .y = unsigned(args.problem.kv_heads),
          .threads = C::kThreads,
          .shared_bytes = kAddsDq ? OnePassTiles<C>::kBytes : BackwardTiles<C>::kBytes},
         args);
}

// Calls f.template operator()<C>() with the configuration that also adds up dq.
template <class F>
auto dispatch_one_pass(int64_t head_dim, const F& f) {
  if (head_dim <= 64) return f.template operator()<ConfigOf<AllGradientShapes, bf16, 64, false>>();
  return f.template operator()<ConfigOf<AllGradientShapes, bf16, 128, false>>();
}

}  // namespace
}  // namespace tessera::gpu
