#include "core/memory/allocator.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>

#include "core/check.h"

namespace tessera {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

class HostAllocator : public SegmentAllocator {
 public:
  Device device() const override { return Device::cpu; }
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
};

class EmulatedAllocator final : public HostAllocator {
 public:
  Device device() const override { return Device::simt; }
  std::byte* allocate(size_t bytes) override {
    std::byte* segment = HostAllocator::allocate(bytes);
    if (!segment) return nullptr;
    segments_[segment] = bytes;
    if (working_ == 0) protect(segment, bytes, PROT_NONE);
    return segment;
  }
  void release(std::byte* segment, size_t bytes) override {
    segments_.erase(segment);
    HostAllocator::release(segment, bytes);
  }
  void copy_in(std::byte* to, const std::byte* host, size_t bytes) override {
    const EmulatedWork work(*this);
    HostAllocator::copy_in(to, host, bytes);
  }
  void copy_out(std::byte* host, const std::byte* from, size_t bytes) override {
    const EmulatedWork work(*this);
    HostAllocator::copy_out(host, from, bytes);
  }
  void fill(std::byte* to, std::byte value, size_t bytes) override {
    const EmulatedWork work(*this);
    HostAllocator::fill(to, value, bytes);
  }
  void begin_emulated_work() override {
    if (working_++ > 0) return;
    for (auto [segment, bytes] : segments_) protect(segment, bytes, PROT_READ | PROT_WRITE);
  }
  void end_emulated_work() override {
    if (--working_ > 0) return;
    for (auto [segment, bytes] : segments_) protect(segment, bytes, PROT_NONE);
  }

 private:
  static void protect(std::byte* segment, size_t bytes, int access) {
    const bool done = mprotect(segment, bytes, access) == 0;
    check(done, "simt: memory cannot be protected: {}", std::strerror(errno));
  }

  std::map<std::byte*, size_t> segments_;
  int working_ = 0;  // works within works
};

class MetaAllocator final : public SegmentAllocator {
 public:
  Device device() const override { return Device::meta; }
  std::byte* allocate(size_t bytes) override {
    if (bytes > kEnd - next_) return nullptr;
    const uintptr_t address = next_;
    next_ += bytes;
    return reinterpret_cast<std::byte*>(address);
  }
  void release(std::byte*, size_t) override {}
  void copy_in(std::byte*, const std::byte*, size_t) override {}
  void copy_out(std::byte*, const std::byte*, size_t) override {}
  void fill(std::byte*, std::byte, size_t) override {}

 private:
  // Far above any machine, and low enough for sums of bytes to fit into an int64_t.
  static constexpr uintptr_t kEnd = uintptr_t{1} << 62;

  uintptr_t next_ = kHugePage;
};

}  // namespace

std::unique_ptr<SegmentAllocator> make_host_allocator() {
  return std::make_unique<HostAllocator>();
}
std::unique_ptr<SegmentAllocator> make_emulated_allocator() {
  return std::make_unique<EmulatedAllocator>();
}
std::unique_ptr<SegmentAllocator> make_meta_allocator() {
  return std::make_unique<MetaAllocator>();
}
std::unique_ptr<SegmentAllocator> make_allocator(Device device) {
  if (device == Device::meta) return make_meta_allocator();
  if (device == Device::cuda) return make_cuda_allocator();
  if (device == Device::cpu) return make_host_allocator();
#ifdef TESSERA_WITH_SIMT
  return make_emulated_allocator();
#else
  fail("simt: this build has no emulator; configure with -DTESSERA_SIMT=ON, or use another device");
#endif
}

}  // namespace tessera
