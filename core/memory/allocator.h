// Where memory comes from: large segments that the pool cuts into blocks, and how bytes get there.
#pragma once

#include <cstddef>
#include <memory>

#include "core/device.h"

namespace tessera {

class SegmentAllocator {
 public:
  virtual ~SegmentAllocator() = default;
  virtual Device device() const = 0;
  // `bytes` is a multiple of 2 MiB; the result is aligned to 2 MiB on the host, to 256 bytes on a
  // GPU. nullptr when memory is exhausted.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* segment, size_t bytes) = 0;

  // Moving data, in the order of the kernels launched before and after. Nothing on `meta`.
  // The host's bytes may change as soon as copy_in returns.
  virtual void copy_in(std::byte* to, const std::byte* host, size_t bytes) = 0;
  // Returns when the bytes have arrived.
  virtual void copy_out(std::byte* host, const std::byte* from, size_t bytes) = 0;
  virtual void fill(std::byte* to, std::byte value, size_t bytes) = 0;

  // Waits for all of it.
  virtual void synchronize() {}
  // Around what the host does in the device's stead; see EmulatedWork.
  virtual void begin_emulated_work() {}
  virtual void end_emulated_work() {}
  // The cudaStream_t that kernels and copies are ordered by; nullptr on host devices.
  virtual void* stream() const { return nullptr; }
};

// While one is alive, the host can touch the memory of `simt`: around a kernel in the emulator, and
// around matrix products, which run as on `cpu`. At any other time a host's access is a
// segmentation fault, as on `cuda`. Nothing on other devices.
class EmulatedWork {
 public:
  explicit EmulatedWork(SegmentAllocator& memory) : memory_(memory) {
    memory_.begin_emulated_work();
  }
  ~EmulatedWork() { memory_.end_emulated_work(); }
  EmulatedWork(const EmulatedWork&) = delete;
  EmulatedWork& operator=(const EmulatedWork&) = delete;

 private:
  SegmentAllocator& memory_;
};

// Anonymous host memory with transparent huge pages where the system grants them, for `cpu`.
std::unique_ptr<SegmentAllocator> make_host_allocator();
// The same for `simt`, closed to the host but for EmulatedWork and the functions that move data.
std::unique_ptr<SegmentAllocator> make_emulated_allocator();
// Addresses without memory behind them: for planning.
std::unique_ptr<SegmentAllocator> make_meta_allocator();
// Memory of the first CUDA device. Throws Error where there is no driver or device, and in a build
// without CUDA.
std::unique_ptr<SegmentAllocator> make_cuda_allocator();
// Of any device; throws Error for one that this build or machine lacks.
std::unique_ptr<SegmentAllocator> make_allocator(Device device);

// The number of CUDA devices that this build and machine can use; 0 without CUDA or a driver.
int cuda_device_count();

}  // namespace tessera
