// RoPE. A block rotates one row; a thread keeps the angles of its columns for all of the row's
// heads, so that 40 heads of 128 bf16 columns cost 20 KiB of traffic and 512 bytes of angles.
#include <limits>

#include "kernels/elementwise/gpu_lanes.h"
#include "kernels/rope/gpu.h"

namespace tessera {
namespace {

constexpr int kThreads = 128;

template <int N, class T>
__device__ inline void fill(Lanes<T, N>& lanes, T value) {
#pragma unroll
  for (int k = 0; k < N; ++k) lanes.v[k] = value;
}

// Rotates columns j .. j + N - 1 of every groups-th head, from `head` on.
template <int N, class S, class T>
__device__ inline void rotate_heads(const RopeGpu<S>& a, const S* x, S* y, const Lanes<T, N>& cos,
                                    const Lanes<T, N>& sin, int head, int groups) {
  for (; head < a.heads; head += groups) {
    const int64_t first = head * 2 * a.half, second = first + a.half;
    auto left = load(x + first, Count<N>{}), right = load(x + second, Count<N>{});
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const T u = left.v[k], v = right.v[k];
      left.v[k] = gpu::fma(u, cos.v[k], -(v * sin.v[k]));
      right.v[k] = gpu::fma(v, cos.v[k], u * sin.v[k]);
    }
    store(y + first, left);
    store(y + second, right);
  }
}

// Grid: x = rows. N divides half and columns. With n = half / N up to kThreads, thread t works on
// columns (t % n) N .. of heads t / n, t / n + kThreads / n, ...
template <int N, class S>
__global__ __launch_bounds__(kThreads) void rotate(RopeGpu<S> a) {
  using T = RopeAngle<S>;
  const int64_t row = gpu::block_index().x;
  const int thread = int(gpu::thread_index().x), pieces = int(a.half / N);
  const int in_step = gpu::min(pieces, kThreads), groups = kThreads / in_step;
  const S* x = a.x + row * a.columns;
  S* y = a.y + row * a.columns;
  const int64_t position = a.positions[row];
  const bool known = position >= 0 && position < a.limit;
  if (thread < groups * in_step) {
    for (int piece = thread % in_step; piece < pieces; piece += in_step) {
      const int64_t j = int64_t(piece) * N;
      Lanes<T, N> cos, sin;
      fill(cos, std::numeric_limits<T>::quiet_NaN());
      fill(sin, std::numeric_limits<T>::quiet_NaN());
      if (known) {
        cos = load(a.cos + position * a.half + j, Count<N>{});
        sin = load(a.sin + position * a.half + j, Count<N>{});
#pragma unroll
        for (int k = 0; k < N; ++k) sin.v[k] *= a.direction;
      }
      rotate_heads(a, x + j, y + j, cos, sin, thread / in_step, groups);
    }
  }
  if (x == y) return;
  for (int64_t i = a.heads * 2 * a.half + thread * N; i < a.columns; i += kThreads * N)
    store(y + i, load(x + i, Count<N>{}));
}

template <class S>
void launch_rotate(Context& ctx, const RopeGpu<S>& a) {
  constexpr int kLanes = kLanesOf<S>;
  const bool whole =
      a.half % kLanes == 0 && a.columns % kLanes == 0 && are_aligned({a.x, a.y, a.cos, a.sin});
  gpu::launch(ctx, whole ? rotate<kLanes, S> : rotate<1, S>,
              {.x = unsigned(a.rows), .threads = kThreads}, a);
}

}  // namespace

template <>
void rope_gpu<TESSERA_GPU_DEVICE, float>(Context& ctx, const RopeGpu<float>& args) {
  launch_rotate(ctx, args);
}
template <>
void rope_gpu<TESSERA_GPU_DEVICE, bf16>(Context& ctx, const RopeGpu<bf16>& args) {
  launch_rotate(ctx, args);
}
template <>
void rope_gpu<TESSERA_GPU_DEVICE, double>(Context& ctx, const RopeGpu<double>& args) {
  launch_rotate(ctx, args);
}

}  // namespace tessera
