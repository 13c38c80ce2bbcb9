#include "core/memory/pool.h"

#include <algorithm>
#include <cstring>

namespace tessera {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Requests below this share segments of this size; larger ones get a segment of their own.
constexpr size_t kSharedSegment = size_t{32} << 20;

}  // namespace

MemoryPool::~MemoryPool() {
  for (auto [segment, bytes] : owned_) segments_->release(segment, bytes);
}

std::byte* MemoryPool::allocate(size_t bytes, MemoryTag tag) {
  const size_t size = block_bytes(bytes);
  if (size == 0) return nullptr;
  auto fit = free_by_size_.lower_bound({size, nullptr});
  if (fit == free_by_size_.end()) {
    add_segment(size);
    fit = free_by_size_.lower_bound({size, nullptr});
  }
  const auto [found, block] = *fit;
  free_by_size_.erase(fit);
  free_by_address_.erase(block);
  if (found > size) {
    free_by_size_.insert({found - size, block + size});
    free_by_address_[block + size] = found - size;
  }
  ledger_.add(tag, int64_t(size));
  if (poison_ && has_data()) std::memset(block, 0xFF, size);
  return block;
}

void MemoryPool::release(std::byte* block, size_t bytes, MemoryTag tag) {
  const size_t size = block_bytes(bytes);
  if (size == 0) return;
  ledger_.remove(tag, int64_t(size));
  insert_free(block, size);
}

void MemoryPool::add_segment(size_t bytes) {
  const size_t wanted = std::max(bytes, kSharedSegment);
  const size_t size = (wanted + kHugePage - 1) / kHugePage * kHugePage;
  std::byte* segment = segments_->allocate(size);
  owned_.emplace_back(segment, size);
  reserved_ += size;
  free_by_size_.insert({size, segment});
  free_by_address_[segment] = size;
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
