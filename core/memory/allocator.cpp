#include "core/memory/allocator.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "core/check.h"

namespace tessera {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

class HostAllocator final : public SegmentAllocator {
 public:
  explicit HostAllocator(Device device) : device_(device) {}
  Device device() const override { return device_; }
  std::byte* allocate(size_t bytes) override {
    // mmap aligns to 4 KiB only: map one huge page more and give the ends back.
    void* mapped = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    auto* begin = static_cast<std::byte*>(mapped);
    const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    if (head) munmap(begin, head);
    munmap(begin + head + bytes, kHugePage - head);
    madvise(begin + head, bytes, MADV_HUGEPAGE);
    return begin + head;
  }
  void release(std::byte* segment, size_t bytes) override { munmap(segment, bytes); }
  void copy_in(std::byte* to, const std::byte* host, size_t bytes) override {
    std::memcpy(to, host, bytes);
  }
  void copy_out(std::byte* host, const std::byte* from, size_t bytes) override {
    std::memcpy(host, from, bytes);
  }
  void fill(std::byte* to, std::byte value, size_t bytes) override {
    std::memset(to, int(value), bytes);
  }

 private:
  Device device_;
};

class MetaAllocator final : public SegmentAllocator {
 public:
  Device device() const override { return Device::meta; }
  std::byte* allocate(size_t bytes) override {
    const uintptr_t address = next_;
    next_ += bytes;
    return reinterpret_cast<std::byte*>(address);
  }
  void release(std::byte*, size_t) override {}
  void copy_in(std::byte*, const std::byte*, size_t) override {}
  void copy_out(std::byte*, const std::byte*, size_t) override {}
  void fill(std::byte*, std::byte, size_t) override {}

 private:
  uintptr_t next_ = kHugePage;
};

}  // namespace

std::unique_ptr<SegmentAllocator> make_host_allocator(Device device) {
  return std::make_unique<HostAllocator>(device);
}
std::unique_ptr<SegmentAllocator> make_meta_allocator() {
  return std::make_unique<MetaAllocator>();
}
std::unique_ptr<SegmentAllocator> make_allocator(Device device) {
  if (device == Device::meta) return make_meta_allocator();
  if (device == Device::cuda) return make_cuda_allocator();
#ifndef TESSERA_WITH_SIMT
  check(
      device != Device::simt,
      "simt: this build has no emulator; configure with -DTESSERA_SIMT=ON, or use another device");
#endif
  return make_host_allocator(device);
}

}  // namespace tessera
