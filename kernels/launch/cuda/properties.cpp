#include "kernels/launch/cuda/properties.h"

#include <cuda_runtime_api.h>

namespace tessera {
namespace {

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  const cudaError_t status = cudaDeviceGetAttribute(&value, which, device);
  check(status == cudaSuccess, "cuda: properties of device {}: {}", device,
        cudaGetErrorString(status));
  return value;
}

// Dense 16-bit FLOPs a clock of a multiprocessor's tensor cores. From the peak figures of A100,
// L40S, H100 and B200 in NVIDIA's data sheets, divided by their multiprocessors and boost clocks.
// GeForce cards reach half of it when they sum in f32.
double tensor_rate(int major, int minor) {
  if (major >= 12) return 1024;
  if (major >= 10) return 8192;
  if (major == 9) return 4096;
  if (major == 8) return minor == 0 ? 2048 : 1024;
  return 1024;
}

// f32 lanes: 64 until compute capability 8.0, 128 after.
double f32_rate(int major, int minor) {
  return major < 8 || (major == 8 && minor == 0) ? 128 : 256;
}

}  // namespace

double CudaProperties::peak_flops(DType dtype, bool tf32) const {
  double rate = f32_rate(major, minor);
  if (dtype == DType::bf16 || dtype == DType::f16) rate = tensor_rate(major, minor);
  // TF32 has half the rate of 16-bit formats on all of these; before sm_80 there is none.
  if (dtype == DType::f32 && tf32 && major >= 8) rate = tensor_rate(major, minor) / 2;
  return multiprocessors * clock * rate;
}

CudaProperties cuda_properties() {
  int device = 0;
  cudaDeviceProp properties{};
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess) status = cudaGetDeviceProperties(&properties, device);
  check(status == cudaSuccess, "cuda: no usable device: {}", cudaGetErrorString(status));
  constexpr double kKilo = 1e3;
  return {.name = properties.name,
          .major = properties.major,
          .minor = properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .clock = kKilo * attribute(cudaDevAttrClockRate, device),
          .memory_bytes = double(properties.totalGlobalMem)};
}

}  // namespace tessera
