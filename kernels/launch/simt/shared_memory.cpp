#include "kernels/launch/simt/shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace tessera::simt {
namespace {

constexpr int kPoison = 0xff;  // a NaN in every floating-point type
constexpr uint32_t kFirst = 1024;
constexpr uint32_t kGap = 64;                // bytes between static arrays
constexpr uint32_t kWatched = 1024;          // bytes before the dynamic and after the static arrays
constexpr uint32_t kStaticBytes = 48 << 10;  // what CUDA allows
constexpr uint32_t kDynamicAlign = 1024;     // of the dynamic array on a device
constexpr size_t kPage = 4096;

constexpr uint32_t round_up(uint32_t n, uint32_t to) {
  return (n + to - 1) / to * to;
}

void protect(const std::byte* begin, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(begin, bytes);
#else
  (void)begin, (void)bytes;
#endif
}

void unprotect(const std::byte* begin, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(begin, bytes);
#else
  (void)begin, (void)bytes;
#endif
}

}  // namespace

SharedMemory::SharedMemory() {
  // Aligned to its size, so that the absolute address bits that swizzles use are the offset's, and
  // followed by inaccessible memory.
  mapping_ = mmap(nullptr, 2 * kBytes + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  tessera::check(mapping_ != MAP_FAILED, "simt: no memory for the shared memory of a block");
  const auto begin = reinterpret_cast<uintptr_t>(mapping_) + kPage;
  base_ = reinterpret_cast<std::byte*>((begin + kBytes - 1) & ~uintptr_t{kBytes - 1});
  tessera::check(mprotect(base_, kBytes, PROT_READ | PROT_WRITE) == 0,
                 "simt: no memory for the shared memory of a block");
  std::memset(base_, kPoison, kBytes);
}

SharedMemory::~SharedMemory() {
  unprotect(base_, kBytes);
  munmap(mapping_, 2 * kBytes + kPage);
}

void SharedMemory::begin(uint32_t dynamic_bytes, uint32_t limit) {
  unprotect(base_, kBytes);
  const uint32_t static_end =
      statics_.empty() ? kFirst : statics_.back().begin + statics_.back().bytes;
  std::memset(base_, kPoison, static_end + kWatched);
  const uint32_t watched = std::max(kWatched, dynamic_align_);
  const uint32_t dynamic_begin = std::min(dynamic_.begin, kBytes) - watched;
  if (dynamic_align_) std::memset(base_ + dynamic_begin, kPoison, kBytes - dynamic_begin);
  protect(base_, kBytes);
  statics_.clear();
  static_bytes_ = 0;
  dynamic_ = {.key = nullptr, .begin = kBytes, .bytes = dynamic_bytes};
  dynamic_align_ = 0;
  limit_ = limit;
}

uint32_t SharedMemory::device_bytes(uint32_t static_bytes) const {
  const uint32_t align = dynamic_align_ ? kDynamicAlign : 1;
  return round_up(static_bytes, align) + dynamic_.bytes;
}

std::byte* SharedMemory::static_array(const void* key, uint32_t bytes, uint32_t align, Site site) {
  for (const Array& array : statics_) {
    if (array.key == key) return at(array.begin);
  }
  const uint32_t end =
      statics_.empty() ? kFirst - kGap : statics_.back().begin + statics_.back().bytes;
  const uint32_t begin = round_up(end + kGap, align);
  const uint32_t static_bytes = round_up(static_bytes_, align) + bytes;
  const uint32_t room = kBytes - dynamic_.bytes - 2 * kDynamicAlign - kWatched;
  if (static_bytes > kStaticBytes || device_bytes(static_bytes) > limit_ || begin + bytes > room) {
    fail_at(site,
            "shared_array: {} bytes do not fit beside {} static and {} dynamic ones; a block may "
            "have {} bytes, {} of them static",
            bytes, static_bytes_, dynamic_.bytes, limit_, kStaticBytes);
  }
  static_bytes_ = static_bytes;
  statics_.push_back({.key = key, .begin = begin, .bytes = bytes});
  unprotect(at(begin), bytes);
  return at(begin);
}

std::byte* SharedMemory::dynamic_array(uint32_t align, Site site) {
  if (dynamic_align_ == 0) {
    uint32_t begin = (kBytes - dynamic_.bytes) / align * align;
    if (begin % (2 * align) == 0) begin -= align;
    dynamic_.begin = begin;
    dynamic_align_ = align;
    if (device_bytes(static_bytes_) > limit_) {
      fail_at(site,
              "dynamic_shared: {} bytes, aligned to {}, do not fit beside {} static ones; a block "
              "may have {}",
              dynamic_.bytes, kDynamicAlign, static_bytes_, limit_);
    }
    unprotect(at(begin), dynamic_.bytes);
  }
  if (dynamic_align_ != align) {
    fail_at(site, "dynamic_shared: asked for with alignment {} here and {} elsewhere", align,
            dynamic_align_);
  }
  return at(dynamic_.begin);
}

void SharedMemory::check_gap(uint32_t begin, uint32_t end) const {
#if !defined(__SANITIZE_ADDRESS__)  // which has seen such a write itself
  const std::byte* bad =
      std::find_if(at(begin), at(end), [](std::byte b) { return b != std::byte{kPoison}; });
  tessera::check(bad == at(end), "simt: shared memory written outside of every array, at {:#x}",
                 bad - base_);
#else
  (void)begin, (void)end;
#endif
}

void SharedMemory::check_gaps() const {
  uint32_t end = kFirst - kGap;
  for (const Array& array : statics_) {
    check_gap(end, array.begin);
    end = array.begin + array.bytes;
  }
  check_gap(end, end + kWatched);
  if (dynamic_align_ == 0) return;
  check_gap(dynamic_.begin - kWatched, dynamic_.begin);
  check_gap(dynamic_.begin + dynamic_.bytes, kBytes);
}

uint32_t SharedMemory::address_of(const void* p, const char* operation, Site site) const {
  if (!contains(p)) fail_at(site, "{}: {} is no address in shared memory", operation, p);
  return uint32_t(static_cast<const std::byte*>(p) - base_);
}

bool SharedMemory::holds(uint32_t address, uint32_t bytes) const {
  return (dynamic_align_ && dynamic_.holds(address, bytes)) ||
         std::ranges::any_of(statics_,
                             [&](const Array& array) { return array.holds(address, bytes); });
}

void SharedMemory::check(uint32_t address, uint32_t bytes, uint32_t align, const char* operation,
                         Site site) const {
  if (address % align) [[unlikely]] {
    fail_at(site, "{}: shared address {:#x} is not aligned to {} bytes", operation, address, align);
  }
  if (!holds(address, bytes)) [[unlikely]]
    fail_range(address, bytes, operation, site);
}

void SharedMemory::fail_range(uint32_t address, uint32_t bytes, const char* operation,
                              Site site) const {
  fail_at(site, "{}: shared addresses [{:#x}, +{}) are in no array (dynamic: [{:#x}, +{}))",
          operation, address, bytes, dynamic_.begin, dynamic_.bytes);
}

}  // namespace tessera::simt
