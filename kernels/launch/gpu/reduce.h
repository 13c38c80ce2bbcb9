// Sums and maxima over a warp or a block. Deterministic: the order of additions is fixed. Every
// thread of the warp or block must call, and every thread gets the result.
#pragma once

#include "kernels/launch/gpu/device.h"

namespace tessera::gpu {
#if defined(__CUDACC__)
inline namespace on_cuda {
#else
inline namespace on_simt {
#endif

template <class T>
__device__ inline T warp_sum(T v) {
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) v += shuffle_xor(v, mask);
  return v;
}

template <class T>
__device__ inline T warp_max(T v) {
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) v = max(v, shuffle_xor(v, mask));
  return v;
}

// Each warp's v in the lane of its number, the same in every warp; other lanes keep `none`. Ends
// with a barrier behind the reads, so that the array may be used again at once.
template <int kThreads, class Tag, class T>
__device__ inline T gather_warps(T v, T none) {
  static_assert(kThreads % kWarpSize == 0 && kThreads <= 1024);
  constexpr int kWarps = kThreads / kWarpSize;
  T* values = shared_array<T, kWarps, Tag>();
  if (lane() == 0) values[warp()] = v;
  sync_block();
  const T mine = lane() < kWarps ? values[lane()] : none;
  sync_block();
  return mine;
}

// Over a block of kThreads; Tag names the shared memory (see shared_array) and may be left out.
template <int kThreads, class Tag = void, class T>
__device__ inline T block_sum(T v) {
  v = warp_sum(v);
  if constexpr (kThreads == kWarpSize) return v;
  return warp_sum(gather_warps<kThreads, Tag>(v, T(0)));
}

template <int kThreads, class Tag = void, class T>
__device__ inline T block_max(T v) {
  v = warp_max(v);
  if constexpr (kThreads == kWarpSize) return v;
  return warp_max(gather_warps<kThreads, Tag>(v, v));
}

}  // namespace on_...
}  // namespace tessera::gpu
