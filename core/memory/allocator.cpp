#include "core/memory/allocator.h"

#include <sys/mman.h>

#include <cstdint>

#include "core/check.h"

namespace tessera {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

class HostAllocator final : public SegmentAllocator {
 public:
  std::byte* allocate(size_t bytes) override {
    // mmap aligns to 4 KiB only: map one huge page more and give the ends back.
    void* mapped = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(mapped != MAP_FAILED,
          "memory: the system refused {} MiB; use a smaller batch or context, or recompute",
          bytes >> 20);
    auto* begin = static_cast<std::byte*>(mapped);
    const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    if (head) munmap(begin, head);
    munmap(begin + head + bytes, kHugePage - head);
    madvise(begin + head, bytes, MADV_HUGEPAGE);
    return begin + head;
  }
  void release(std::byte* segment, size_t bytes) override { munmap(segment, bytes); }
  bool has_data() const override { return true; }
};

class MetaAllocator final : public SegmentAllocator {
 public:
  std::byte* allocate(size_t bytes) override {
    const uintptr_t address = next_;
    next_ += bytes;
    return reinterpret_cast<std::byte*>(address);
  }
  void release(std::byte*, size_t) override {}
  bool has_data() const override { return false; }

 private:
  uintptr_t next_ = kHugePage;
};

}  // namespace

std::unique_ptr<SegmentAllocator> make_host_allocator() {
  return std::make_unique<HostAllocator>();
}
std::unique_ptr<SegmentAllocator> make_meta_allocator() {
  return std::make_unique<MetaAllocator>();
}

}  // namespace tessera
