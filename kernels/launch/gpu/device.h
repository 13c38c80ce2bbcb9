// What kernels in `.cu` files are written with: the same functions for CUDA (nvcc) and for the
// emulator (g++), in tessera::gpu. Kernels contain no asm, no __shared__, no <<<>>> and no
// __CUDA_ARCH__; see docs/architecture/devices.md.
#pragma once

#if defined(__CUDACC__)
#include "kernels/launch/cuda/device.cuh"
namespace tessera::gpu {
inline namespace on_cuda {
#else
#include "kernels/launch/simt/device.h"
namespace tessera::gpu {
inline namespace on_simt {

// For nvcc, which may move registers across wgmma_fence; see kernels/launch/cuda/wgmma.cuh.
template <int N>
void wgmma_hold(float (&)[N]) {}
#endif

// The storage type's value nearest to x: the inverse of widen().
template <class S>
__device__ inline S narrow(Wide<S> x) {
  if constexpr (std::is_same_v<S, double>) {
    return x;
  } else {
    return from_float<S>(x);
  }
}

}  // namespace on_...
}  // namespace tessera::gpu
