// Tensor maps, encoded by the driver. It is asked for at run time: a program must start without it.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <array>

#include "core/check.h"
#include "core/dtype.h"
#include "kernels/launch/gpu/tensor_layout.h"

namespace tessera::gpu {
inline namespace on_cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  constexpr unsigned kVersion = 12000;  // in which the function appeared
#if CUDART_VERSION >= 12050
  const cudaError_t status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                              kVersion, cudaEnableDefault, &found);
#else
  const cudaError_t status =
      cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
  check(status == cudaSuccess && found == cudaDriverEntryPointSuccess,
        "cuda: the driver has no cuTensorMapEncodeTiled; TMA kernels need driver 525 or later");
  return reinterpret_cast<Encode>(function);
}

CUtensorMapDataType data_type(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DType::f16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::f32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case DType::f64:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
    case DType::i32:
      return CU_TENSOR_MAP_DATA_TYPE_INT32;
    case DType::i64:
      return CU_TENSOR_MAP_DATA_TYPE_INT64;
    case DType::e4m3:
    case DType::e5m2:
    case DType::u8:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
  }
  fail("encode_tensor_map: unknown dtype {}", int(dtype));
}

CUtensorMapSwizzle swizzle_mode(Swizzle swizzle) {
  constexpr CUtensorMapSwizzle kModes[] = {CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_32B,
                                           CU_TENSOR_MAP_SWIZZLE_64B, CU_TENSOR_MAP_SWIZZLE_128B};
  return kModes[int(swizzle)];
}

}  // namespace

CUtensorMap encode_tensor_map(DType dtype, const void* base, const TensorLayout& layout) {
  static const Encode encode = find_encode();
  std::array<uint32_t, 5> steps;
  steps.fill(1);
  CUtensorMap map{};
  const CUresult status =
      encode(&map, data_type(dtype), uint32_t(layout.rank), const_cast<void*>(base),
             layout.sizes.data(), layout.strides.data(), layout.box.data(), steps.data(),
             CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle_mode(layout.swizzle),
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(status == CUDA_SUCCESS,
        "encode_tensor_map: the driver refuses (error {}) {} at {}, rank {}, sizes {}, strides {}, "
        "box {}",
        int(status), name_of(dtype), base, layout.rank, fmt::join(layout.sizes, "x"),
        fmt::join(layout.strides, ","), fmt::join(layout.box, "x"));
  return map;
}

}  // namespace on_cuda
}  // namespace tessera::gpu
