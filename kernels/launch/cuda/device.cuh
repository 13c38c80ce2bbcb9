// The functions of kernels/launch/gpu/device.h on CUDA: thin wrappers, one instruction each.
// PTX by section: PTX ISA 8.4 and later. What an architecture lacks traps: the host picks kernels
// by the device's compute capability.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/dtype.h"

namespace tessera::gpu {
inline namespace on_cuda {

struct Index3 {
  unsigned x, y, z;
};
__device__ inline Index3 thread_index() {
  return {threadIdx.x, threadIdx.y, threadIdx.z};
}
__device__ inline Index3 block_index() {
  return {blockIdx.x, blockIdx.y, blockIdx.z};
}
__device__ inline Index3 block_size() {
  return {blockDim.x, blockDim.y, blockDim.z};
}
__device__ inline Index3 grid_size() {
  return {gridDim.x, gridDim.y, gridDim.z};
}

constexpr int kWarpSize = 32;
constexpr uint32_t kFullMask = 0xffffffffu;

// Of a one-dimensional block.
__device__ inline int lane() {
  return int(threadIdx.x % kWarpSize);
}
__device__ inline int warp() {
  return int(threadIdx.x / kWarpSize);
}

__device__ inline void sync_block() {
  __syncthreads();
}
__device__ inline void sync_warp(uint32_t mask = kFullMask) {
  __syncwarp(mask);
}
// Named barriers 0..15 of a block (barrier 0 is sync_block's); `threads` counts those that sync and
// those that arrive, whole warps. PTX 9.7.13.1.
__device__ inline void barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Exchanges between all lanes of a warp.
template <class T>
__device__ inline T shuffle(T v, int source_lane) {
  return __shfl_sync(kFullMask, v, source_lane);
}
template <class T>
__device__ inline T shuffle_xor(T v, int mask) {
  return __shfl_xor_sync(kFullMask, v, mask);
}
template <class T>
__device__ inline T shuffle_down(T v, unsigned delta) {
  return __shfl_down_sync(kFullMask, v, delta);
}
template <class T>
__device__ inline T shuffle_up(T v, unsigned delta) {
  return __shfl_up_sync(kFullMask, v, delta);
}
__device__ inline uint32_t ballot(bool vote) {
  return __ballot_sync(kFullMask, vote);
}
__device__ inline bool any(bool vote) {
  return __any_sync(kFullMask, vote);
}
__device__ inline bool all(bool vote) {
  return __all_sync(kFullMask, vote);
}
// True in one lane of a converged warp.
__device__ inline bool elect_one() {
#if __CUDA_ARCH__ >= 900
  uint32_t elected;
  asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.b32 %0, 1, 0, p;\n}"
               : "=r"(elected));
  return elected;
#else
  return lane() == 0;
#endif
}

// Where the architecture has no such instruction. What would follow is not compiled.
[[noreturn]] __device__ inline void missing_instruction() {
  __trap();
  __builtin_unreachable();
}

// The block's T[N], 16-byte aligned: one for each (T, N, Tag).
template <class T, int N, class Tag = void>
__device__ inline T* shared_array() {
  __shared__ __align__(alignof(T) > 16 ? alignof(T) : 16) T array[N];
  return array;
}
// Grid::shared_bytes of the launch. Always aligned for the largest TMA swizzle.
template <int kAlign = 16>
__device__ inline std::byte* dynamic_shared() {
  static_assert(kAlign <= 1024);
  extern __shared__ __align__(1024) std::byte tessera_dynamic_shared[];
  return tessera_dynamic_shared;
}
__device__ inline uint32_t shared_address(const void* pointer) {
  return uint32_t(__cvta_generic_to_shared(pointer));
}

// Approximations within 2 ulp or so; subnormal operands and results count as 0. PTX 9.7.3.
__device__ inline float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float rsqrt_approx(float x) {
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float rcp_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// min and max return the other operand where one is NaN.
template <class T>
__device__ inline T fma(T a, T b, T c) {
  if constexpr (std::is_floating_point_v<T>) {
    return ::fma(a, b, c);
  } else {
    return a * b + c;
  }
}
template <class T>
__device__ inline T min(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return ::fmin(a, b);
  } else {
    return b < a ? b : a;
  }
}
template <class T>
__device__ inline T max(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return ::fmax(a, b);
  } else {
    return a < b ? b : a;
  }
}

__device__ inline uint32_t bits(float x) {
  return __float_as_uint(x);
}
__device__ inline float from_bits(uint32_t bits) {
  return __uint_as_float(bits);
}
__device__ inline uint32_t mul_hi(uint32_t a, uint32_t b) {
  return __umulhi(a, b);
}

// Return the value before.
__device__ inline int32_t atomic_add(int32_t* p, int32_t v) {
  return atomicAdd(p, v);
}
__device__ inline uint32_t atomic_add(uint32_t* p, uint32_t v) {
  return atomicAdd(p, v);
}
__device__ inline uint64_t atomic_add(uint64_t* p, uint64_t v) {
  return atomicAdd(reinterpret_cast<unsigned long long*>(p), v);
}
__device__ inline float atomic_add(float* p, float v) {
  return atomicAdd(p, v);
}
__device__ inline uint32_t atomic_max(uint32_t* p, uint32_t v) {
  return atomicMax(p, v);
}
// Orders this thread's writes before and after it for all threads of the device.
__device__ inline void thread_fence() {
  __threadfence();
}

}  // namespace on_cuda
}  // namespace tessera::gpu

#include "kernels/launch/cuda/convert.cuh"
#include "kernels/launch/cuda/hopper.h"
#include "kernels/launch/cuda/matrix.cuh"
