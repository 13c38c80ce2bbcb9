// What sm_90a adds, on CUDA: mbarriers, TMA, wgmma and setmaxnreg. Included by device.cuh; for
// files that are compiled for sm_90a alone (SM90 of tessera_gpu_sources).
#pragma once

#include <cuda.h>

#include "kernels/launch/gpu/tensor_layout.h"

namespace tessera::gpu {
inline namespace on_cuda {

using TensorMap = CUtensorMap;

// Host side. Throws Error for a layout that TMA cannot take.
TensorMap encode_tensor_map(DType dtype, const void* base, const TensorLayout& layout);

// The tensor of T at `base`, 16-byte aligned. A kernel takes it as `const __grid_constant__
// TensorMap`.
template <class T>
TensorMap encode_tensor_map(const T* base, const TensorLayout& layout) {
  return encode_tensor_map(dtype_of<T>, base, layout);
}

}  // namespace on_cuda
}  // namespace tessera::gpu

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "kernels/launch/cuda/tma.cuh"
#include "kernels/launch/cuda/wgmma.cuh"
#endif
