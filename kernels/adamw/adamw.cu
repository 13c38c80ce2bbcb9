// AdamW. Bytes a parameter with a bf16 copy: 16 in, 14 out. The results are the CPU's, bit for bit
// but for subnormals, which the CPU takes for 0: the same fused operations, division and square
// root rounded to nearest.
#include <bit>
#include <cmath>
#include <vector>

#include "kernels/adamw/gpu.h"
#include "kernels/adamw/rounding.h"
#include "kernels/elementwise/gpu_lanes.h"
#include "kernels/elementwise/gpu_tensor_list.h"
#include "kernels/launch/gpu/philox.h"

namespace tessera {
namespace {

constexpr int kTensors = 40;  // in a launch: 3.4 KiB of arguments

template <class T>
struct Entry {
  AdamWBlock<T> tensor;
  bool aligned;  // may be accessed by groups
};
template <class T>
using AdamWList = TensorList<Entry<T>, kTensors>;

// Elements `element` .. of the parameter; a group of 4 is one of Philox's blocks.
template <int N>
__device__ inline void store_stochastically(bf16* to, const Lanes<float, N>& x,
                                            const Philox& random, int64_t element) {
  static_assert(N == 1 || N == 4);
  gpu::Vector<bf16, N> rounded;
  gpu::Vector<uint32_t, N> numbers;
  if constexpr (N == 4) {
    numbers = gpu::philox_block(random, uint64_t(element) / 4);
  } else {
    numbers.v[0] = gpu::philox_bits(random, uint64_t(element));
  }
#pragma unroll
  for (int k = 0; k < N; ++k)
    rounded.v[k].bits = round_stochastically(std::bit_cast<uint32_t>(x.v[k]), numbers.v[k]);
  gpu::store_global(to, rounded);
}

template <class T, class Group>
__device__ inline void update(const AdamWFactors<T>& f, const AdamWBlock<T>& b, int64_t i,
                              Group lanes) {
  const auto grad = load(b.grad + i, lanes);
  auto m = load(b.m + i, lanes), v = load(b.v + i, lanes);
  auto param = m;
  if constexpr (std::is_same_v<T, float>) {
    param = b.param ? load(b.param + i, lanes) : load(b.low + i, lanes);
  } else {
    param = load(b.param + i, lanes);
  }
#pragma unroll
  for (int k = 0; k < lanes; ++k) {
    const T g = grad.v[k] * f.grad_scale;
    m.v[k] = gpu::fma(m.v[k], f.beta1, g * f.one_minus_beta1);
    v.v[k] = gpu::fma(v.v[k], f.beta2, g * g * f.one_minus_beta2);
    const T step = m.v[k] / gpu::fma(std::sqrt(v.v[k]), f.root_scale, f.eps);
    param.v[k] = gpu::fma(-f.rate, step, param.v[k] * b.keep);
  }
  store(b.m + i, m);
  store(b.v + i, v);
  if (b.param) store(b.param + i, param);
  if constexpr (std::is_same_v<T, float>) {
    if (!b.param) {
      store_stochastically(b.low + i, param, Philox(f.seed, b.purpose, f.step), b.first + i);
    } else if (b.low) {
      store(b.low + i, param);
    }
  }
}

// Grid: x = the list's blocks.
template <class T>
__global__ __launch_bounds__(kSweepThreads) void adamw(const AdamWFactors<T> factors,
                                                       const AdamWList<T> list) {
  const unsigned block = gpu::block_index().x;
  const int entry = entry_of(list, block);
  const AdamWBlock<T> tensor = list.entries[entry].tensor;
  const unsigned part = block - list.first_block[entry];
  const auto body = [&](int64_t i, auto lanes) { update(factors, tensor, i, lanes); };
  if (list.entries[entry].aligned) {
    sweep_part<kLanesOf<T>>(part, tensor.count, body);
  } else {
    sweep_part<1>(part, tensor.count, body);
  }
}

template <class T>
void launch_adamw(Context& ctx, const AdamWFactors<T>& factors,
                  std::span<const AdamWBlock<T>> tensors) {
  std::vector<Entry<T>> entries;
  for (const AdamWBlock<T>& b : tensors) {
    const bool aligned = are_aligned({b.param, b.grad, b.m, b.v}) &&
                         are_aligned({b.low}, kLanesOf<T> * sizeof(bf16));
    entries.push_back({b, aligned});
  }
  const auto blocks_of = [](const Entry<T>& entry) {
    return sweep_blocks(entry.tensor.count, entry.aligned ? kLanesOf<T> : 1);
  };
  for_each_list<kTensors>(std::span<const Entry<T>>(entries), blocks_of,
                          [&](const AdamWList<T>& list, unsigned blocks) {
                            gpu::launch(ctx, adamw<T>, {.x = blocks, .threads = kSweepThreads},
                                        factors, list);
                          });
}

}  // namespace

template <>
void adamw_gpu<TESSERA_GPU_DEVICE, float>(Context& ctx, const AdamWFactors<float>& factors,
                                          std::span<const AdamWBlock<float>> tensors) {
  launch_adamw(ctx, factors, tensors);
}
template <>
void adamw_gpu<TESSERA_GPU_DEVICE, double>(Context& ctx, const AdamWFactors<double>& factors,
                                           std::span<const AdamWBlock<double>> tensors) {
  launch_adamw(ctx, factors, tensors);
}

}  // namespace tessera
