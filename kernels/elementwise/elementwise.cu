// Elementwise kernels: every element is read once and written once.
#include "kernels/elementwise/gpu.h"
#include "kernels/elementwise/gpu_lanes.h"

namespace tessera {
namespace {

// sum may be a.
template <int N, class To, class From>
__global__ __launch_bounds__(kSweepThreads) void add(To* sum, const To* a, const From* b,
                                                     int64_t n) {
  sweep<N>(n, [=](int64_t i, auto lanes) {
    auto x = load(a + i, lanes);
    const auto y = load(b + i, lanes);
#pragma unroll
    for (int k = 0; k < lanes; ++k) x.v[k] += y.v[k];
    store(sum + i, x);
  });
}

template <int N, class S>
__device__ void multiply(S* x, gpu::Wide<S> factor, int64_t n) {
  sweep<N>(n, [=](int64_t i, auto lanes) {
    auto values = load(x + i, lanes);
#pragma unroll
    for (int k = 0; k < lanes; ++k) values.v[k] *= factor;
    store(x + i, values);
  });
}

template <int N, class S>
__global__ __launch_bounds__(kSweepThreads) void scale(S* x, gpu::Wide<S> factor, int64_t n) {
  multiply<N>(x, factor, n);
}

template <int N, class S>
__global__ __launch_bounds__(kSweepThreads) void scale_by(S* x, const gpu::Wide<S>* factor,
                                                          int64_t n) {
  if (*factor != 1) multiply<N>(x, *factor, n);
}

template <int N, class S>
__global__ __launch_bounds__(kSweepThreads) void find_non_finite(const S* x, int64_t n,
                                                                 int32_t* found) {
  bool bad = false;
  sweep<N>(n, [=, &bad](int64_t i, auto lanes) {
    const auto values = load(x + i, lanes);
#pragma unroll
    for (int k = 0; k < lanes; ++k) bad |= values.v[k] - values.v[k] != 0;
  });
  if (gpu::any(bad) && gpu::lane() == 0) gpu::atomic_add(found, 1);
}

// Grid: x along the columns, y along the rows.
template <int N, class To, class From>
__global__ __launch_bounds__(kSweepThreads) void convert(ConvertRows<To, From> a) {
  for (int64_t row = gpu::block_index().y; row < a.rows; row += gpu::grid_size().y) {
    const From* from = a.from + row * a.from_stride;
    To* to = a.to + row * a.to_stride;
    sweep<N>(a.columns, [=](int64_t i, auto lanes) {
      const auto x = load(from + i, lanes);
      Lanes<gpu::Wide<To>, lanes> y;
#pragma unroll
      for (int k = 0; k < lanes; ++k) y.v[k] = gpu::Wide<To>(x.v[k]);
      store(to + i, y);
    });
  }
}

// Launches kernel.operator()<N>() over n elements, with N > 1 where the pointers allow it.
template <int kLanes, class... P, class... Args>
void launch_sweep(Context& ctx, bool aligned, void (*wide)(P...), void (*narrow)(P...), int64_t n,
                  Args... args) {
  const gpu::Grid grid{.x = sweep_blocks(n, aligned ? kLanes : 1), .threads = kSweepThreads};
  gpu::launch(ctx, aligned ? wide : narrow, grid, args...);
}

template <class To, class From>
void launch_add(Context& ctx, To* sum, const To* a, const From* b, int64_t n) {
  constexpr int kLanes = kLanesOf<To>;
  launch_sweep<kLanes>(ctx, are_aligned({sum, a, b}), add<kLanes, To, From>, add<1, To, From>, n,
                       sum, a, b, n);
}

template <class S>
void launch_scale(Context& ctx, S* x, double factor, int64_t n) {
  constexpr int kLanes = kLanesOf<S>;
  launch_sweep<kLanes>(ctx, are_aligned({x}), scale<kLanes, S>, scale<1, S>, n, x,
                       gpu::Wide<S>(factor), n);
}

template <class S>
void launch_scale_by(Context& ctx, S* x, const gpu::Wide<S>* factor, int64_t n) {
  constexpr int kLanes = kLanesOf<S>;
  launch_sweep<kLanes>(ctx, are_aligned({x}), scale_by<kLanes, S>, scale_by<1, S>, n, x, factor, n);
}

template <class S>
void launch_find_non_finite(Context& ctx, const S* x, int64_t n, int32_t* found) {
  constexpr int kLanes = kLanesOf<S>;
  launch_sweep<kLanes>(ctx, are_aligned({x}), find_non_finite<kLanes, S>, find_non_finite<1, S>, n,
                       x, n, found);
}

template <class S>
ElementwiseGpu<S> kernels_of() {
  return {.add = launch_add<S, S>,
          .scale = launch_scale<S>,
          .scale_by = launch_scale_by<S>,
          .find_non_finite = launch_find_non_finite<S>};
}

template <class To, class From>
void launch_convert(Context& ctx, const ConvertRows<To, From>& a) {
  constexpr int kLanes = std::min(kLanesOf<To>, kLanesOf<From>);
  const bool strides_fit =
      a.rows == 1 || (a.to_stride % kLanes == 0 && a.from_stride % kLanes == 0);
  const bool aligned = strides_fit && are_aligned({a.to}, kLanes * sizeof(To)) &&
                       are_aligned({a.from}, kLanes * sizeof(From));
  const gpu::Grid grid{.x = sweep_blocks(a.columns, aligned ? kLanes : 1),
                       .y = unsigned(std::min<int64_t>(a.rows, 65535)),
                       .threads = kSweepThreads};
  gpu::launch(ctx, aligned ? convert<kLanes, To, From> : convert<1, To, From>, grid, a);
}

}  // namespace

template <>
ElementwiseGpu<float> elementwise_gpu<TESSERA_GPU_DEVICE, float>() {
  return kernels_of<float>();
}
template <>
ElementwiseGpu<bf16> elementwise_gpu<TESSERA_GPU_DEVICE, bf16>() {
  return kernels_of<bf16>();
}
template <>
ElementwiseGpu<double> elementwise_gpu<TESSERA_GPU_DEVICE, double>() {
  return kernels_of<double>();
}

template <>
void add_bf16_into_gpu<TESSERA_GPU_DEVICE>(Context& ctx, float* into, const bf16* from, int64_t n) {
  launch_add<float, bf16>(ctx, into, into, from, n);
}

template <>
void convert_gpu<TESSERA_GPU_DEVICE, float, float>(Context& ctx,
                                                   const ConvertRows<float, float>& a) {
  launch_convert(ctx, a);
}
template <>
void convert_gpu<TESSERA_GPU_DEVICE, float, bf16>(Context& ctx, const ConvertRows<float, bf16>& a) {
  launch_convert(ctx, a);
}
template <>
void convert_gpu<TESSERA_GPU_DEVICE, float, double>(Context& ctx,
                                                    const ConvertRows<float, double>& a) {
  launch_convert(ctx, a);
}
template <>
void convert_gpu<TESSERA_GPU_DEVICE, bf16, float>(Context& ctx, const ConvertRows<bf16, float>& a) {
  launch_convert(ctx, a);
}
template <>
void convert_gpu<TESSERA_GPU_DEVICE, bf16, bf16>(Context& ctx, const ConvertRows<bf16, bf16>& a) {
  launch_convert(ctx, a);
}
template <>
void convert_gpu<TESSERA_GPU_DEVICE, bf16, double>(Context& ctx,
                                                   const ConvertRows<bf16, double>& a) {
  launch_convert(ctx, a);
}
template <>
void convert_gpu<TESSERA_GPU_DEVICE, double, float>(Context& ctx,
                                                    const ConvertRows<double, float>& a) {
  launch_convert(ctx, a);
}
template <>
void convert_gpu<TESSERA_GPU_DEVICE, double, bf16>(Context& ctx,
                                                   const ConvertRows<double, bf16>& a) {
  launch_convert(ctx, a);
}
template <>
void convert_gpu<TESSERA_GPU_DEVICE, double, double>(Context& ctx,
                                                     const ConvertRows<double, double>& a) {
  launch_convert(ctx, a);
}

}  // namespace tessera
