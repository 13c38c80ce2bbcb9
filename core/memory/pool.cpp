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
  auto fit = free_by_size_.lower_bound({taken, nullptr});
  if (fit == free_by_size_.end()) {
    add_segment(taken, tag);
    fit = free_by_size_.lower_bound({taken, nullptr});
  }
  const auto [found, block] = *fit;
  free_by_size_.erase(fit);
  free_by_address_.erase(block);
  if (found > taken) {
    free_by_size_.insert({found - taken, block + taken});
    free_by_address_[block + taken] = found - taken;
  }
  in_use_[block] = {size, tag};
  ledger_.add(tag, int64_t(size));
  if (guard_) __asan_unpoison_memory_region(block, size);
  if (poison_) segments_->fill(block, std::byte{0xFF}, size);
  if (guard_) __asan_poison_memory_region(block + bytes, taken - bytes);
  return block;
}

void MemoryPool::release(std::byte* block, size_t bytes, MemoryTag tag) {
  const size_t size = block_bytes(bytes);
  if (size == 0) return;
  in_use_.erase(block);
  ledger_.remove(tag, int64_t(size));
  if (guard_) __asan_poison_memory_region(block, size);
  insert_free(block, size + guard_);
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
  free_by_size_.insert({size, segment});
  free_by_address_[segment] = size;
}

void MemoryPool::release_free_segments() {
  std::erase_if(owned_, [&](const auto& segment) {
    const auto [begin, size] = segment;
    const auto free = free_by_address_.find(begin);
    if (free == free_by_address_.end() || free->second != size) return false;
    free_by_size_.erase({size, begin});
    free_by_address_.erase(free);
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

void MemoryPool::insert_free(std::byte* block, size_t bytes) {
  const auto is_segment_start = [&](std::byte* address) {
    return std::any_of(owned_.begin(), owned_.end(),
                       [&](const auto& s) { return s.first == address; });
  };
  auto next = free_by_address_.upper_bound(block);
  if (next != free_by_address_.end() && next->first == block + bytes &&
      !is_segment_start(next->first)) {
    bytes += next->second;
    free_by_size_.erase({next->second, next->first});
    next = free_by_address_.erase(next);
  }
  if (next != free_by_address_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == block && !is_segment_start(block)) {
      block = previous->first;
      bytes += previous->second;
      free_by_size_.erase({previous->second, previous->first});
      free_by_address_.erase(previous);
    }
  }
  free_by_size_.insert({bytes, block});
  free_by_address_[block] = bytes;
}

}  // namespace tessera
