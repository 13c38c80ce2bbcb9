// SwiGLU. Bytes a bf16 output at least: forward 4 in, 2 out; backward 6 in, 6 out.
#include <cmath>

#include "kernels/elementwise/gpu_lanes.h"
#include "kernels/swiglu/gpu.h"

namespace tessera {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 4;  // a block's: 48 KiB of bf16 traffic in forward, 96 KiB in backward
constexpr float kLog2E = 1.44269504f;

// For bf16, the exponent -x log2(e) needs no exact reduction: it errs by |x| roundoffs of f32.
template <class S, class T>
__device__ inline T sigmoid_for(T x) {
  if constexpr (sizeof(S) == 2) {
    return gpu::rcp_approx(1 + gpu::exp2_approx(-kLog2E * x));
  } else {
    return 1 / (1 + std::exp(-x));
  }
}

// Calls body(row, column) for the block's rows and the thread's N columns. N divides width.
template <int N, class Body>
__device__ inline void for_each_group(int64_t rows, int64_t width, const Body& body) {
  const int64_t column = (int64_t(gpu::block_index().y) * kThreads + gpu::thread_index().x) * N;
  if (column >= width) return;
  const int64_t first = int64_t(gpu::block_index().x) * kRows;
#pragma unroll
  for (int64_t row = first; row < first + kRows; ++row)
    if (row < rows) body(row, column);
}

template <int N, class S>
__global__ __launch_bounds__(kThreads) void forward(const S* __restrict__ gate_up,
                                                    S* __restrict__ y, int64_t rows,
                                                    int64_t width) {
  for_each_group<N>(rows, width, [=](int64_t row, int64_t column) {
    const S* gate = gate_up + row * 2 * width + column;
    auto g = load(gate, Count<N>{});
    const auto up = load(gate + width, Count<N>{});
#pragma unroll
    for (int k = 0; k < N; ++k) g.v[k] = g.v[k] * sigmoid_for<S>(g.v[k]) * up.v[k];
    store(y + row * width + column, g);
  });
}

template <int N, class S>
__global__ __launch_bounds__(kThreads) void backward(const S* gate_up, const S* dy, S* dgate_up,
                                                     S* y, int64_t rows, int64_t width) {
  for_each_group<N>(rows, width, [=](int64_t row, int64_t column) {
    const int64_t at = row * 2 * width + column, out = row * width + column;
    auto gate = load(gate_up + at, Count<N>{}), up = load(gate_up + at + width, Count<N>{});
    auto grad = load(dy + out, Count<N>{});
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const auto s = sigmoid_for<S>(gate.v[k]), silu = gate.v[k] * s, d = grad.v[k], u = up.v[k];
      gate.v[k] = d * u * gpu::fma(silu, 1 - s, s);
      up.v[k] = d * silu;
      grad.v[k] = silu * u;
    }
    store(dgate_up + at, gate);
    store(dgate_up + at + width, up);
    store(y + out, grad);
  });
}

gpu::Grid grid_for(int64_t rows, int64_t width, int lanes) {
  const int64_t columns = int64_t(kThreads) * lanes;
  return {.x = unsigned((rows + kRows - 1) / kRows),
          .y = unsigned((width + columns - 1) / columns),
          .threads = kThreads};
}

template <class S>
void launch_forward(Context& ctx, const S* gate_up, S* y, int64_t rows, int64_t width) {
  constexpr int kLanes = kLanesOf<S>;
  const bool whole = width % kLanes == 0 && are_aligned({gate_up, y});
  gpu::launch(ctx, whole ? forward<kLanes, S> : forward<1, S>,
              grid_for(rows, width, whole ? kLanes : 1), gate_up, y, rows, width);
}

template <class S>
void launch_backward(Context& ctx, const S* gate_up, const S* dy, S* dgate_up, S* y, int64_t rows,
                     int64_t width) {
  constexpr int kLanes = kLanesOf<S>;
  const bool whole = width % kLanes == 0 && are_aligned({gate_up, dy, dgate_up, y});
  gpu::launch(ctx, whole ? backward<kLanes, S> : backward<1, S>,
              grid_for(rows, width, whole ? kLanes : 1), gate_up, dy, dgate_up, y, rows, width);
}

}  // namespace

template <>
SwigluGpu<float> swiglu_gpu<TESSERA_GPU_DEVICE, float>() {
  return {launch_forward<float>, launch_backward<float>};
}
template <>
SwigluGpu<bf16> swiglu_gpu<TESSERA_GPU_DEVICE, bf16>() {
  return {launch_forward<bf16>, launch_backward<bf16>};
}
template <>
SwigluGpu<double> swiglu_gpu<TESSERA_GPU_DEVICE, double>() {
  return {launch_forward<double>, launch_backward<double>};
}

}  // namespace tessera
