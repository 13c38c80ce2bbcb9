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
  Range heads;   // of queries: the group of the keys' head
  Range blocks;  // of queries
  int first;     // key of the warp's first row

  // One for each query head of the group and block of queries, in this order.
  struct Step {
    int index, head, query;
  };
  __device__ Step first_step() const { return {0, heads.begin, blocks.begin * C::kColumns}; }
  __device__ Step after(Step step) const {
    const int next = step.query + C::kColumns;
    const bool same_head = next < blocks.end * C::kColumns;
    return {step.index + 1, step.head + !same_head, same_head ? next : blocks.begin * C::kColumns};
  }
  __device__ bool exists(const Step& step) const {
    return !blocks.empty() && step.head < heads.end;
  }

  __device__ void load_queries(const Step& step) const {
    if (exists(step)) {
      const int token = band.first_query + step.query, count = band.queries - step.query;
      const int D = int(args.problem.head_dim), stage = step.index % C::kStages;
      load_tile<C::kColumns, C::kThreads>(tiles.column(stage, 0),
                                          rows_of<const S>(args.q, token, step.head, count), D);
      load_tile<C::kColumns, C::kThreads>(tiles.column(stage, 1),
                                          rows_of<const S>(args.d_o, token, step.head, count), D);
      const RowTerms<T> terms(args);
      const int64_t row = int64_t(step.head) * args.problem.q_tokens + token;
      load_terms(tiles.terms(stage, 0), terms.lse + row, C::kColumns, count);
      load_terms(tiles.terms(stage, 1), terms.delta + row, C::kColumns, count);
    }
    cp_async_commit();
  }

  // dq += ds k for the step's queries: the block's gradients of scores meet in shared memory, and
  // each warp sums over all keys for 16 queries and half of the head dimension.
  __device__ void add_dq(const Step& step, typename C::Scores& ds) const {
    static_assert(C::kColumns == 64 && C::kThreads == 8 * kWarpSize && C::R == 1);
    constexpr int kWidth = C::kD / 2;
    const typename OnePassTiles<C>::Scores tile{tiles.end()};
    store_sums(tile, ds, C::warp_row(), 0);
    sync_block();
    const int query_group = warp() % 4, first_column = warp() / 4 * kWidth;
    Sums<float, 1, kWidth> dq;
    const Patches<S, C::kColumns, PatchOrder::by_rows> a(tile, 0);
    const Patches<S, C::kD, PatchOrder::by_columns> b(tiles.rows[0], 0);
#pragma unroll 2
    for (int k = 0; k < C::kRows / 16; ++k) {
      uint32_t left[1][4];
      ldmatrix_x4_trans(left[0], a.at(16 * k, query_group));
      multiply_step<S>(dq, left, b, 16 * k, first_column);
    }
    const int D = int(args.problem.head_dim), query = step.query + 16 * query_group;
    const int64_t first_row = int64_t(step.head) * args.problem.q_tokens + band.first_query + query;
    float* sums = RowTerms<float>(args).dq + first_row * D + first_column + lane() % 4 * 2;
    const int columns = D - first_column;  // a multiple of 8
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane() / 4 + 8 * half;
      if (query + row >= band.queries) continue;
      float* row_sums = sums + row * D;
      dq.each_in_row(0, half, [&](float& value, int column) {
        if (column / 8 * 8 < columns) atomic_add(row_sums + column, value);
      });
    }
  }

  __device__ void run(const Step& step, typename C::Out& dk, typename C::Out& dv) const {
    const int D = int(args.problem.head_dim), stage = step.index % C::kStages, query = step.query;
    ScoreGradient<C> gradient(args, band, step.head);
    typename C::Scores p, ds;
    multiply_nt(p, tiles.rows[0], C::warp_row(), tiles.column(stage, 0), D);
    multiply_nt(ds, tiles.rows[1], C::warp_row(), tiles.column(stage, 1), D);
    const bool all_visible = band.sees_all(query, C::kColumns, first, C::kWarpRows);
    const T *lse = tiles.terms(stage, 0), *delta = tiles.terms(stage, 1);
    gradient.with_visibility(all_visible, [&](const auto& sees) {
      p.each_with(ds, [&](T& p_ij, T& d_p, int, int, int row, int column) {
        const int i = query + column, j = first + row;
        gradient(p_ij, d_p, lse[column], delta[column], i, j, sees(i, j));
      });
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
  const int group = int(p.q_heads / p.kv_heads);
  const KeyBlock<C, kAddsDq> block{
      .args = args,
      .tiles = tiles,
      .band = band,
      .heads = {kv_head * group, (kv_head + 1) * group},
      .blocks = blocks_of(band.queries_of(place.first, place.end(C::kRows)), C::kColumns),
      .first = place.first + C::warp_row()};
  load_tile<C::kRows, C::kThreads>(tiles.rows[0],
                                   rows_of<const S>(args.k, place.token, kv_head, place.rows), D);
  load_tile<C::kRows, C::kThreads>(tiles.rows[1],
                                   rows_of<const S>(args.v, place.token, kv_head, place.rows), D);
  block.load_queries(block.first_step());
  typename C::Out dk, dv;
  for (auto step = block.first_step(); block.exists(step); step = block.after(step)) {
    if constexpr (C::kStages == 2) block.load_queries(block.after(step));
    cp_async_wait<C::kStages - 1>();
    sync_block();
    block.run(step, dk, dv);
    sync_block();
    if constexpr (C::kStages == 1) block.load_queries(block.after(step));
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
