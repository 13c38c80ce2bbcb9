// A block's shared memory: an arena of 2^18 addresses whose bytes are NaN until they are written,
// with gaps between its arrays that must not be touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

class SharedMemory {
 public:
  static constexpr uint32_t kBytes = 1u << 18;  // what wgmma's descriptors can address

  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // A new block: no arrays, everything poisoned. `limit` bytes for static and dynamic ones.
  void begin(uint32_t dynamic_bytes, uint32_t limit);
  // Throws if a gap was written.
  void check_gaps() const;

  // The array of `key`, made on first use.
  std::byte* static_array(const void* key, uint32_t bytes, uint32_t align, Site site);
  // The dynamic array: aligned to `align` and, to find kernels that hope for more, to nothing else.
  std::byte* dynamic_array(uint32_t align, Site site);

  std::byte* base() const { return base_; }
  std::byte* at(uint32_t address) const { return base_ + address; }
  bool contains(const void* p) const {
    return size_t(static_cast<const std::byte*>(p) - base_) < kBytes;
  }
  // The address of a pointer into shared memory; an error for others.
  uint32_t address_of(const void* p, const char* operation, Site site) const;
  bool holds(uint32_t address, uint32_t bytes) const;
  void check(uint32_t address, uint32_t bytes, uint32_t align, const char* operation,
             Site site) const;

 private:
  struct Array {
    const void* key;
    uint32_t begin, bytes;

    bool holds(uint32_t address, uint32_t n) const {
      return address >= begin && n <= bytes && address - begin <= bytes - n;
    }
  };

  [[noreturn]] void fail_range(uint32_t address, uint32_t bytes, const char* operation,
                               Site site) const;
  void check_gap(uint32_t begin, uint32_t end) const;
  // What the arrays, with the static ones of `static_bytes`, take on a device.
  uint32_t device_bytes(uint32_t static_bytes) const;

  std::byte* base_ = nullptr;
  void* mapping_ = nullptr;
  std::vector<Array> statics_;
  uint32_t static_bytes_ = 0;  // without gaps
  Array dynamic_{};
  uint32_t dynamic_align_ = 0;  // 0: nobody has asked for it
  uint32_t limit_ = 0;
};

}  // namespace tessera::simt
