#include "core/memory/pool.h"

#include <algorithm>
#include <string>

#include "core/check.h"

// NOLINTBEGIN: the names are the compiler's. Null in programs without AddressSanitizer.
extern "C" {
[[gnu::weak]] void __asan_poison_memory_region(const volatile void* begin, size_t bytes);
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void* begin, size_t bytes);
}
// NOLINTEND

namespace tessera {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Requests below this share segments of this size; larger ones get a segment of their own.
constexpr size_t kSharedSegment = size_t{32} << 20;

std::string mebibytes(size_t bytes) {
  return fmt::format("{:.1f} MiB", double(bytes) / (1 << 20));
}

}  // namespace

MemoryPool::MemoryPool(std::unique_ptr<SegmentAllocator> segments)
    : segments_(std::move(segments)),
      guard_(__asan_poison_memory_region && device() == Device::simt ? kGranule : 0) {}

MemoryPool::~MemoryPool() {
  for (auto [segment, bytes] : owned_) release_segment(segment, bytes);
}

void MemoryPool::release_segment(std::byte* segment, size_t bytes) {
  if (guard_) __asan_unpoison_memory_region(segment, bytes);
  segments_->release(segment, bytes);
}

std::byte* MemoryPool::allocate(size_t bytes, MemoryTag tag) {
  const size_t size = block_bytes(bytes), taken = size + guard_;
  if (size == 0) return nullptr;
  auto fit = free_by_size_.lower_bound({taken, 0, nullptr});
  if (fit == free_by_size_.end()) {
    add_segment(taken, tag);
    fit = free_by_size_.lower_bound({taken, 0, nullptr});
  }
  const auto [found, segment, block] = *fit;
  erase_free(*fit);
  if (found > taken) insert_free({found - taken, segment, block + taken});
  in_use_[block] = {size, tag, segment};
  ledger_.add(tag, int64_t(size));
  if (guard_) __asan_unpoison_memory_region(block, size);
  if (poison_) segments_->fill(block, std::byte{0xFF}, size);
  if (guard_) __asan_poison_memory_region(block + bytes, taken - bytes);
  return block;
}

void MemoryPool::release(std::byte* block, size_t bytes, MemoryTag tag) {
  const size_t size = block_bytes(bytes);
  if (size == 0) return;
  const size_t segment = in_use_.at(block).segment;
  in_use_.erase(block);
  ledger_.remove(tag, int64_t(size));
  if (guard_) __asan_poison_memory_region(block, size);
  insert_free({size + guard_, segment, block});
}

void MemoryPool::retag(std::byte* block, size_t bytes, MemoryTag from, MemoryTag to) {
  const size_t size = block_bytes(bytes);
  if (size == 0) return;
  in_use_.at(block).tag = to;
  ledger_.move(from, to, int64_t(size));
}

void MemoryPool::add_segment(size_t bytes, MemoryTag tag) {
  const size_t wanted = std::max(bytes, kSharedSegment);
  const size_t size = (wanted + kHugePage - 1) / kHugePage * kHugePage;
  std::byte* segment = segments_->allocate(size);
  if (!segment) {
    release_free_segments();
    segment = segments_->allocate(size);
  }
  if (!segment) fail_for_lack_of(bytes, tag);
  if (guard_) __asan_poison_memory_region(segment, size);
  owned_.emplace_back(segment, size);
  reserved_ += size;
  insert_free({size, segments_taken_++, segment});
}

void MemoryPool::release_free_segments() {
  std::erase_if(owned_, [&](const auto& segment) {
    const auto [begin, size] = segment;
    const auto free = free_by_address_.find(begin);
    if (free == free_by_address_.end() || free->second.bytes != size) return false;
    erase_free(free->second);
    release_segment(begin, size);
    reserved_ -= size;
    return true;
  });
}

void MemoryPool::fail_for_lack_of(size_t bytes, MemoryTag tag) const {
  std::string in_use;
  for (size_t i = 0; i < kMemoryTags; ++i) {
    if (const int64_t held = ledger_.current(MemoryTag(i)); held > 0)
      in_use += fmt::format(", {} {}", name_of(MemoryTag(i)), mebibytes(size_t(held)));
  }
  std::vector<Block> blocks;
  for (const auto& [address, block] : in_use_) blocks.push_back(block);
  const size_t shown = std::min<size_t>(3, blocks.size());
  std::partial_sort(blocks.begin(), blocks.begin() + ptrdiff_t(shown), blocks.end(),
                    [](const Block& a, const Block& b) { return a.bytes > b.bytes; });
  std::string largest;
  for (size_t i = 0; i < shown; ++i)
    largest += fmt::format(", {} ({})", mebibytes(blocks[i].bytes), name_of(blocks[i].tag));
  throw OutOfMemory(fmt::format(
      "memory: {} has no room for {} of {}; in use: {} in all{}; largest{}; use a smaller "
      "training.batch or model.context, or memory.recompute: block",
      name_of(device()), mebibytes(bytes), name_of(tag), mebibytes(size_t(ledger_.current())),
      in_use, largest.empty() ? " none" : " blocks" + largest.substr(1)));
}

void MemoryPool::insert_free(FreeBlock block) {
  const auto next = free_by_address_.find(block.begin + block.bytes);
  if (next != free_by_address_.end() && next->second.segment == block.segment) {
    block.bytes += next->second.bytes;
    erase_free(next->second);
  }
  const auto after = free_by_address_.lower_bound(block.begin);
  if (after != free_by_address_.begin()) {
    const FreeBlock previous = std::prev(after)->second;
    if (previous.begin + previous.bytes == block.begin && previous.segment == block.segment) {
      block.begin = previous.begin;
      block.bytes += previous.bytes;
      erase_free(previous);
    }
  }
  free_by_size_.insert(block);
  free_by_address_.emplace(block.begin, block);
}

void MemoryPool::erase_free(FreeBlock block) {
  free_by_size_.erase(block);
  free_by_address_.erase(block.begin);
}

}  // namespace tessera
