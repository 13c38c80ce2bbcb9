#include "kernels/launch/gpu/device.h"
#include "kernels/launch/gpu/launch.h"
#include "kernels/linear/gpu.h"

namespace tessera {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / gpu::kWarpSize;

// sums[chunk] (+)= the sum of the chunk's rows. Grid: (columns / 32, chunks); a lane has a column,
// warp w the rows w, w + 8, ... of the chunk.
template <class S, class T>
__global__ void __launch_bounds__(kThreads)
    sum_rows_kernel(const S* x, int64_t rows, int64_t columns, int64_t stride,
                    int64_t rows_per_chunk, bool accumulate, T* sums) {
  const int lane = gpu::lane(), warp = gpu::warp();
  const int64_t column = int64_t(gpu::block_index().x) * gpu::kWarpSize + lane;
  const int64_t chunk = gpu::block_index().y, begin = chunk * rows_per_chunk;
  const int64_t end = gpu::min(begin + rows_per_chunk, rows);
  T sum = 0;
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = begin + warp; row < end; row += kWarps)
      sum += gpu::widen(x[row * stride + column]);
  }
  T* const parts = gpu::shared_array<T, kThreads>();
  parts[warp * gpu::kWarpSize + lane] = sum;
  gpu::sync_block();
  if (warp != 0 || column >= columns) return;
  T total = accumulate ? sums[chunk * columns + column] : T(0);
  for (int w = 0; w < kWarps; ++w) total += parts[w * gpu::kWarpSize + lane];
  sums[chunk * columns + column] = total;
}

template <class S>
void sum_rows(Context& ctx, const SumRowsGpu<S>& a) {
  using T = typename SumRowsGpu<S>::Sum;
  const unsigned chunks = gpu::blocks_for(a.rows, a.rows_per_chunk);
  const unsigned column_blocks = gpu::blocks_for(a.columns, gpu::kWarpSize);
  gpu::launch(ctx, sum_rows_kernel<S, T>, {.x = column_blocks, .y = chunks, .threads = kThreads},
              a.x, a.rows, a.columns, a.stride, a.rows_per_chunk, false, a.partials);
  gpu::launch(ctx, sum_rows_kernel<T, T>, {.x = column_blocks, .threads = kThreads}, a.partials,
              int64_t(chunks), a.columns, a.columns, int64_t(chunks), a.accumulate, a.sums);
}

}  // namespace

template <>
void sum_rows_gpu<TESSERA_GPU_DEVICE>(Context& ctx, const SumRowsGpu<float>& args) {
  sum_rows(ctx, args);
}
template <>
void sum_rows_gpu<TESSERA_GPU_DEVICE>(Context& ctx, const SumRowsGpu<bf16>& args) {
  sum_rows(ctx, args);
}
template <>
void sum_rows_gpu<TESSERA_GPU_DEVICE>(Context& ctx, const SumRowsGpu<double>& args) {
  sum_rows(ctx, args);
}

}  // namespace tessera
