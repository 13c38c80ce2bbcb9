// XXH64 ("xxHash fast digest algorithm", version 0.1.1, seed 0): the number `xxhsum -H64` prints.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/files/file.h"

namespace tessera {

class Checksum {
 public:
  void update(std::span<const std::byte> bytes);
  uint64_t value() const;

  static uint64_t of(std::span<const std::byte> bytes);
  // Of the bytes [offset, offset + size) of a file, which must have them.
  static uint64_t of(const File& file, uint64_t offset, uint64_t size);

 private:
  static constexpr size_t kStripe = 32;  // bytes: four lanes of eight

  void consume(const std::byte* stripe);
  uint64_t merged_lanes() const;

  std::array<uint64_t, 4> lanes_ = kStart;
  std::array<std::byte, kStripe> held_;
  size_t held_size_ = 0;
  uint64_t total_ = 0;

  static const std::array<uint64_t, 4> kStart;
};

}  // namespace tessera
