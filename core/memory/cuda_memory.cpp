// Memory of a CUDA device: one stream orders kernels and copies, so a freed block may be reused at
// once. Uploads go through pinned buffers and do not wait for the device.
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/check.h"
#include "core/memory/allocator.h"

namespace tessera {
namespace {

void checked(cudaError_t status, const char* what) {
  check(status == cudaSuccess, "cuda: {}: {}", what, cudaGetErrorString(status));
}

// Pinned host memory that an upload passes through; busy until its event has happened.
class Staging {
 public:
  static constexpr size_t kBytes = size_t{1} << 20;

  Staging() {
    checked(cudaHostAlloc(reinterpret_cast<void**>(&bytes_), kBytes, cudaHostAllocDefault),
            "pinned host memory");
    checked(cudaEventCreateWithFlags(&free_, cudaEventDisableTiming), "event");
  }
  ~Staging() {
    cudaEventDestroy(free_);
    cudaFreeHost(bytes_);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void upload(std::byte* to, const std::byte* host, size_t bytes, cudaStream_t stream) {
    checked(cudaEventSynchronize(free_), "upload");
    std::memcpy(bytes_, host, bytes);
    checked(cudaMemcpyAsync(to, bytes_, bytes, cudaMemcpyHostToDevice, stream), "upload");
    checked(cudaEventRecord(free_, stream), "upload");
  }

 private:
  std::byte* bytes_ = nullptr;
  cudaEvent_t free_ = nullptr;
};

class CudaAllocator final : public SegmentAllocator {
 public:
  CudaAllocator() {
    checked(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    for (auto& staging : staging_) staging = std::make_unique<Staging>();
  }
  ~CudaAllocator() override {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  CudaAllocator(const CudaAllocator&) = delete;
  CudaAllocator& operator=(const CudaAllocator&) = delete;

  Device device() const override { return Device::cuda; }
  std::byte* allocate(size_t bytes) override {
    void* segment = nullptr;
    const cudaError_t status = cudaMalloc(&segment, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // clears it
      return nullptr;
    }
    checked(status, "allocation");
    return static_cast<std::byte*>(segment);
  }
  void release(std::byte* segment, size_t) override { cudaFree(segment); }

  void copy_in(std::byte* to, const std::byte* host, size_t bytes) override {
    for (size_t begin = 0; begin < bytes; begin += Staging::kBytes) {
      staging_[next_++ % kStagings]->upload(to + begin, host + begin,
                                            std::min(Staging::kBytes, bytes - begin), stream_);
    }
  }
  void copy_out(std::byte* host, const std::byte* from, size_t bytes) override {
    checked(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream_), "download");
    checked(cudaStreamSynchronize(stream_), "download");
  }
  void fill(std::byte* to, std::byte value, size_t bytes) override {
    checked(cudaMemsetAsync(to, int(value), bytes, stream_), "fill");
  }
  void synchronize() override { checked(cudaStreamSynchronize(stream_), "kernels"); }
  void* stream() const override { return stream_; }

 private:
  static constexpr size_t kStagings = 4;

  cudaStream_t stream_ = nullptr;
  std::array<std::unique_ptr<Staging>, kStagings> staging_;
  size_t next_ = 0;
};

// Kernels are compiled for sm_75 and newer; see cmake/TesseraGpu.cmake.
void check_architecture() {
  int device = 0;
  cudaDeviceProp p{};
  checked(cudaGetDevice(&device), "the device in use");
  checked(cudaGetDeviceProperties(&p, device), "its properties");
  check(10 * p.major + p.minor >= 75,
        "cuda: {} has compute capability {}.{}, but kernels need 7.5 or newer; use device cpu",
        p.name, p.major, p.minor);
}

}  // namespace

std::unique_ptr<SegmentAllocator> make_cuda_allocator() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  check(status == cudaSuccess && count > 0,
        "cuda: no usable device ({}); use device cpu, or mend the driver",
        status == cudaSuccess ? "none found" : cudaGetErrorString(status));
  check_architecture();
  return std::make_unique<CudaAllocator>();
}

int cuda_device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace tessera
