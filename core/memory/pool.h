// The caching pool: cuts segments into blocks, keeps freed blocks for reuse, books every block in
// the ledger.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/memory/allocator.h"
#include "core/memory/ledger.h"

namespace tessera {

// Thrown when neither the pool nor the device has room; names what is in use and what may help.
struct OutOfMemory : Error {
  using Error::Error;
};

// Best fit over freed blocks, the oldest segment and lowest offset first among equals; a block is
// split to size and merged with free neighbours when released. So the same requests in the same
// order give the same layout (segments and offsets) on every device, wherever the system puts the
// segments. Not for use by several threads at once.
class MemoryPool {
 public:
  static constexpr size_t kGranule =
      64;  // bytes; every block is a multiple of it and aligned to it

  explicit MemoryPool(std::unique_ptr<SegmentAllocator> segments);
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // The size of the block that a request of `bytes` gets; 0 for 0.
  static constexpr size_t block_bytes(size_t bytes) {
    return (bytes + kGranule - 1) / kGranule * kGranule;
  }

  // nullptr for 0 bytes.
  std::byte* allocate(size_t bytes, MemoryTag tag);
  void release(std::byte* block, size_t bytes, MemoryTag tag);
  // Books a block that is in use under another tag.
  void retag(std::byte* block, size_t bytes, MemoryTag from, MemoryTag to);

  Ledger& ledger() { return ledger_; }
  Device device() const { return segments_->device(); }
  SegmentAllocator& segments() { return *segments_; }
  // The cudaStream_t of the device; nullptr on others.
  void* stream() const { return segments_->stream(); }
  // Bytes taken from the system, in use or kept for reuse.
  size_t reserved() const { return reserved_; }
  // Fills new blocks with 0xFF bytes, a NaN in every floating-point type, so that a read before the
  // first write shows.
  void set_poison(bool on) { poison_ = on; }

 private:
  struct FreeBlock {
    size_t bytes;
    size_t segment;  // numbered as they were taken from the system
    std::byte* begin;
    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the generated code for ours
    auto operator<=>(const FreeBlock&) const = default;
  };

  struct Block {
    size_t bytes;
    MemoryTag tag;
    size_t segment;
  };

  void add_segment(size_t bytes, MemoryTag tag);
  void release_segment(std::byte* segment, size_t bytes);
  // Gives segments of which no block is in use back to the system.
  void release_free_segments();
  [[noreturn]] void fail_for_lack_of(size_t bytes, MemoryTag tag) const;
  void insert_free(FreeBlock block);
  void erase_free(FreeBlock block);

  std::unique_ptr<SegmentAllocator> segments_;
  // Bytes behind each block, not in the ledger, that AddressSanitizer guards like all free ones:
  // for the kernels of `simt`, in programs that are linked with it. Else 0.
  size_t guard_ = 0;
  Ledger ledger_;
  std::vector<std::pair<std::byte*, size_t>> owned_;
  size_t segments_taken_ = 0;
  std::set<FreeBlock> free_by_size_;
  std::map<std::byte*, FreeBlock> free_by_address_;
  std::unordered_map<std::byte*, Block> in_use_;
  size_t reserved_ = 0;
  bool poison_ = false;
};

}  // namespace tessera
