// Sums of squares in two stages of fixed order: each block of 32768 elements, then all blocks. All
// in f64: one conversion and one fma an element, a third of what an H200 does while it reads.
#include "kernels/launch/gpu/reduce.h"

#include "kernels/elementwise/gpu_lanes.h"
#include "kernels/elementwise/gpu_tensor_list.h"
#include "kernels/reduce/gpu.h"

namespace tessera {
namespace {

constexpr int kThreads = 256, kSumThreads = 512;
constexpr int kTensors = 96;  // in a launch: 2.7 KiB of arguments

template <class S>
using SquaresList = TensorList<SquaresOf<S>, kTensors>;

// The thread's part of the sum over data[0 .. count - 1].
template <int N, class S>
__device__ inline double thread_squares(const S* data, int64_t count) {
  double sums[N] = {};
  const int64_t groups = count / N;
#pragma unroll 4
  for (int64_t group = gpu::thread_index().x; group < groups; group += kThreads) {
    const auto x = load(data + group * N, Count<N>{});
#pragma unroll
    for (int k = 0; k < N; ++k) sums[k] = gpu::fma(double(x.v[k]), double(x.v[k]), sums[k]);
  }
  double sum = 0;
#pragma unroll
  for (int k = 0; k < N; ++k) sum += sums[k];
  const int64_t rest = groups * N + gpu::thread_index().x;
  if (N > 1 && rest < count) {
    const double x = gpu::widen(data[rest]);
    sum = gpu::fma(x, x, sum);
  }
  return sum;
}

template <class S>
__global__ __launch_bounds__(kThreads) void partial_squares(const SquaresList<S> list) {
  constexpr int kLanes = kLanesOf<S>;
  const unsigned block = gpu::block_index().x;
  const int entry = entry_of(list, block);
  const SquaresOf<S> tensor = list.entries[entry];
  const int64_t part = block - list.first_block[entry], begin = part * kReduceBlock;
  const S* data = tensor.data + begin;
  const int64_t count = gpu::min(kReduceBlock, tensor.elements - begin);
  const bool aligned = reinterpret_cast<uintptr_t>(data) % kAccessBytes == 0;
  const double sum = gpu::block_sum<kThreads>(aligned ? thread_squares<kLanes>(data, count)
                                                      : thread_squares<1>(data, count));
  if (gpu::thread_index().x == 0) tensor.partials[part] = sum;
}

// One block.
__global__ __launch_bounds__(kSumThreads) void sum_values(const double* values, int64_t n,
                                                          double* total) {
  double sum = 0;
#pragma unroll 4
  for (int64_t i = gpu::thread_index().x; i < n; i += kSumThreads) sum += values[i];
  sum = gpu::block_sum<kSumThreads>(sum);
  if (gpu::thread_index().x == 0) *total = sum;
}

template <class S>
void launch_partial_squares(Context& ctx, std::span<const SquaresOf<S>> tensors) {
  const auto blocks_of = [](const SquaresOf<S>& tensor) {
    return (tensor.elements + kReduceBlock - 1) / kReduceBlock;
  };
  for_each_list<kTensors>(tensors, blocks_of, [&](const SquaresList<S>& list, unsigned blocks) {
    gpu::launch(ctx, partial_squares<S>, {.x = blocks, .threads = kThreads}, list);
  });
}

}  // namespace

template <>
void partial_squares_gpu<TESSERA_GPU_DEVICE, float>(Context& ctx,
                                                    std::span<const SquaresOf<float>> tensors) {
  launch_partial_squares(ctx, tensors);
}
template <>
void partial_squares_gpu<TESSERA_GPU_DEVICE, bf16>(Context& ctx,
                                                   std::span<const SquaresOf<bf16>> tensors) {
  launch_partial_squares(ctx, tensors);
}
template <>
void partial_squares_gpu<TESSERA_GPU_DEVICE, double>(Context& ctx,
                                                     std::span<const SquaresOf<double>> tensors) {
  launch_partial_squares(ctx, tensors);
}
template <>
void sum_gpu<TESSERA_GPU_DEVICE>(Context& ctx, const double* values, int64_t n, double* total) {
  gpu::launch(ctx, sum_values, {.x = 1, .threads = kSumThreads}, values, n, total);
}

}  // namespace tessera
