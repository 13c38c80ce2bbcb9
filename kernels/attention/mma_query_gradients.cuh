// dq: a block owns some queries of one head and walks over the visible blocks of keys and values;
// with two stages, the next block arrives while one is worked on.
#pragma once

#include "kernels/attention/mma_backward.cuh"
#include "kernels/launch/gpu/launch.h"

namespace tessera::gpu {
namespace {

template <class C>
struct QueryBlock {
  using S = typename C::S;
  using T = typename C::T;

  const AttentionBackwardGpu& args;
  const BackwardTiles<C>& tiles;
  const Band& band;
  int head, kv_head;
  Range blocks;    // of keys
  int first;       // query of the warp's first row
  T lse[C::R][2];  // of this lane's rows
  T delta[C::R][2];

  __device__ void load_terms(const BlockPlace& place) {
    const RowTerms<T> terms(args);
    const int64_t row0 = int64_t(head) * args.problem.q_tokens + place.token;
#pragma unroll
    for (int i = 0; i < 2 * C::R; ++i) {
      const int row = C::warp_row() + lane() / 4 + 8 * i;
      const bool inside = row < place.rows;
      lse[i / 2][i % 2] = inside ? terms.lse[row0 + row] : kInfinity<T>;
      delta[i / 2][i % 2] = inside ? terms.delta[row0 + row] : T(0);
    }
  }

  __device__ void load_keys(int block) const {
    if (block < blocks.end) {
      const int key = block * C::kColumns, D = int(args.problem.head_dim);
      const int token = band.first_key + key, count = band.keys - key, stage = block % C::kStages;
      load_tile<C::kColumns, C::kThreads>(tiles.column(stage, 0),
                                          rows_of<const S>(args.k, token, kv_head, count), D);
      load_tile<C::kColumns, C::kThreads>(tiles.column(stage, 1),
                                          rows_of<const S>(args.v, token, kv_head, count), D);
    }
    cp_async_commit();
  }

  __device__ void step(ScoreGradient<C>& gradient, int block, typename C::Out& dq) const {
    const int D = int(args.problem.head_dim), key = block * C::kColumns, stage = block % C::kStages;
    typename C::Scores s, ds;
    multiply_nt(s, tiles.rows[0], C::warp_row(), tiles.column(stage, 0), D);
    multiply_nt(ds, tiles.rows[1], C::warp_row(), tiles.column(stage, 1), D);
    const bool all_visible = band.sees_all(first, C::kWarpRows, key, C::kColumns);
    gradient.with_visibility(all_visible, [&](const auto& sees) {
      s.each_with(ds, [&](T& p, T& d_p, int r, int half, int row, int column) {
        const int i = first + row, j = key + column;
        gradient(p, d_p, lse[r][half], delta[r][half], i, j, sees(i, j));
      });
    });
    multiply_nn(dq, ds, tiles.column(stage, 0), C::warp_column(), D);
  }
};

// Grid: slots of blocks of queries, the last first; heads.
template <class C>
__global__ void __launch_bounds__(C::kThreads)
    attention_query_gradients_kernel(AttentionBackwardGpu args) {
  using S = typename C::S;
  const AttentionProblem& p = args.problem;
  const int slot = int(grid_size().x - 1 - block_index().x), D = int(p.head_dim);
  const BlockPlace place = block_at(slot, p.cu_q, int(p.segments), int(p.q_tokens), C::kRows);
  if (place.rows <= 0) return;
  const Band band(p, place.segment);
  const int head = int(block_index().y);
  const BackwardTiles<C> tiles;
  QueryBlock<C> block{
      .args = args,
      .tiles = tiles,
      .band = band,
      .head = head,
      .kv_head = head / int(p.q_heads / p.kv_heads),
      .blocks = blocks_of(band.keys_of(place.first, place.end(C::kRows)), C::kColumns),
      .first = place.first + C::warp_row()};
  load_tile<C::kRows, C::kThreads>(tiles.rows[0],
                                   rows_of<const S>(args.q, place.token, head, place.rows), D);
  load_tile<C::kRows, C::kThreads>(tiles.rows[1],
                                   rows_of<const S>(args.d_o, place.token, head, place.rows), D);
  block.load_keys(block.blocks.begin);
  block.load_terms(place);
  ScoreGradient<C> gradient(args, band, head);
  typename C::Out dq;
  for (int i = block.blocks.begin; i < block.blocks.end; ++i) {
    if constexpr (C::kStages == 2) block.load_keys(i + 1);
    cp_async_wait<C::kStages - 1>();
    sync_block();
    block.step(gradient, i, dq);
    sync_block();
    if constexpr (C::kStages == 1) block.load_keys(i + 1);
  }
  cp_async_wait<0>();
  sync_block();
  const auto scale = typename C::T(p.scale);
  store_rows<C>(dq, tiles.rows[0], rows_of<S>(args.dq, place.token, head, place.rows), D,
                [&](int, int) { return scale; });
}

template <class C>
void query_gradients(Context& ctx, const AttentionBackwardGpu& args) {
  launch(ctx, attention_query_gradients_kernel<C>,
         {.x = block_slots(args.problem.q_tokens, args.problem.segments, C::kRows),
          .y = unsigned(args.problem.q_heads),
          .threads = C::kThreads,
          .shared_bytes = BackwardTiles<C>::kBytes},
         args);
}

}  // namespace
}  // namespace tessera::gpu
