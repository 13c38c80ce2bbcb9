#include <cuda_runtime_api.h>
#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "core/context.h"
#include "kernels/launch/cuda/launch.h"
#include "kernels/launch/cuda/properties.h"
#include "kernels/launch/gpu/limits.h"

namespace tessera::gpu {
inline namespace on_cuda {
namespace {

// Dynamic shared memory that is had without asking: of 48 KiB, less a kernel's own arrays.
constexpr int kFreeSharedBytes = 32 * 1024;

std::string name_of_kernel(const void* kernel) {
  const char* mangled = nullptr;
  if (cudaFuncGetName(&mangled, kernel) != cudaSuccess) return "(unknown kernel)";
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), &std::free);
  return status == 0 ? name.get() : mangled;
}

void check_launch(cudaError_t status, const void* kernel, const Grid& grid) {
  if (status == cudaSuccess) [[likely]]
    return;
  cudaGetLastError();  // so that the next call does not report it again
  fail("cuda: kernel {} with grid {} x {} x {}, {} threads and {} bytes of shared memory: {}",
       name_of_kernel(kernel), grid.x, grid.y, grid.z, grid.threads, grid.shared_bytes,
       cudaGetErrorString(status));
}

}  // namespace

void launch_kernel(Context& ctx, const void* kernel, const Grid& grid, void** arguments) {
  if (grid.shared_bytes > kFreeSharedBytes) {
    check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      grid.shared_bytes),
                 kernel, grid);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = {grid.x, grid.y, grid.z};
  config.blockDim = {unsigned(grid.threads), 1, 1};
  config.dynamicSmemBytes = size_t(grid.shared_bytes);
  config.stream = static_cast<cudaStream_t>(ctx.pool().stream());
  check_launch(cudaLaunchKernelExC(&config, kernel, arguments), kernel, grid);
}

}  // namespace on_cuda

}  // namespace tessera::gpu

namespace tessera {

template <>
GpuLimits gpu_limits<Device::cuda>(Context&) {
  const auto attribute = [](cudaDeviceAttr name) {
    int device = 0, value = 0;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess) status = cudaDeviceGetAttribute(&value, name, device);
    check(status == cudaSuccess, "cuda: limits of the device: {}", cudaGetErrorString(status));
    return value;
  };
  const int capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
                         attribute(cudaDevAttrComputeCapabilityMinor);
  return {.architecture = capability < 80    ? 75
                          : capability == 90 ? 90
                                             : 80,
          .shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)};
}

template <>
std::string describe_gpu<Device::cuda>(Context&) {
  const CudaProperties p = cuda_properties();
  return fmt::format("{} (sm_{}{})", p.name, p.major, p.minor);
}

}  // namespace tessera
