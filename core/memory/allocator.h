// Where memory comes from: large segments that the pool cuts into blocks.
#pragma once

#include <cstddef>
#include <memory>

namespace tessera {

class SegmentAllocator {
 public:
  virtual ~SegmentAllocator() = default;
  // `bytes` is a multiple of 2 MiB; the result is aligned to 2 MiB. Throws Error when memory is
  // exhausted.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* segment, size_t bytes) = 0;
  // False for `meta`, whose addresses must not be read or written.
  virtual bool has_data() const = 0;
};

// Anonymous host memory with transparent huge pages where the system grants them.
std::unique_ptr<SegmentAllocator> make_host_allocator();
// Addresses without memory behind them: for planning.
std::unique_ptr<SegmentAllocator> make_meta_allocator();

}  // namespace tessera
