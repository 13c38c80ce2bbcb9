#include "train/checkpoint/checksum.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "core/check.h"

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87u, kPrime2 = 0xC2B2AE3D27D4EB4Fu,
                   kPrime3 = 0x165667B19E3779F9u, kPrime4 = 0x85EBCA77C2B2AE63u,
                   kPrime5 = 0x27D4EB2F165667C5u;

template <class T>
uint64_t load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

uint64_t round(uint64_t lane, uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

uint64_t finish(uint64_t hash, const std::byte* tail, size_t size) {
  for (; size >= 8; tail += 8, size -= 8)
    hash = std::rotl(hash ^ round(0, load<uint64_t>(tail)), 27) * kPrime1 + kPrime4;
  for (; size >= 4; tail += 4, size -= 4)
    hash = std::rotl(hash ^ load<uint32_t>(tail) * kPrime1, 23) * kPrime2 + kPrime3;
  for (; size >= 1; ++tail, --size)
    hash = std::rotl(hash ^ load<uint8_t>(tail) * kPrime5, 11) * kPrime1;
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

}  // namespace

const std::array<uint64_t, 4> Checksum::kStart{kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};

void Checksum::consume(const std::byte* stripe) {
  for (size_t i = 0; i < lanes_.size(); ++i)
    lanes_[i] = round(lanes_[i], load<uint64_t>(stripe + 8 * i));
}

void Checksum::update(std::span<const std::byte> bytes) {
  total_ += bytes.size();
  if (held_size_ > 0) {
    const size_t n = std::min(kStripe - held_size_, bytes.size());
    std::copy_n(bytes.begin(), n, held_.begin() + held_size_);
    held_size_ += n;
    bytes = bytes.subspan(n);
    if (held_size_ < kStripe) return;
    consume(held_.data());
  }
  for (; bytes.size() >= kStripe; bytes = bytes.subspan(kStripe)) consume(bytes.data());
  std::copy(bytes.begin(), bytes.end(), held_.begin());
  held_size_ = bytes.size();
}

uint64_t Checksum::merged_lanes() const {
  uint64_t hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
                  std::rotl(lanes_[3], 18);
  for (uint64_t lane : lanes_) hash = (hash ^ round(0, lane)) * kPrime1 + kPrime4;
  return hash;
}

uint64_t Checksum::value() const {
  const uint64_t hash = total_ >= kStripe ? merged_lanes() : kPrime5;
  return finish(hash + total_, held_.data(), held_size_);
}

uint64_t Checksum::of(std::span<const std::byte> bytes) {
  Checksum checksum;
  checksum.update(bytes);
  return checksum.value();
}

uint64_t Checksum::of(const File& file, uint64_t offset, uint64_t size) {
  constexpr uint64_t kBlock = uint64_t{1} << 20;
  std::vector<std::byte> block(std::min(size, kBlock));
  Checksum checksum;
  for (uint64_t done = 0; done < size; done += block.size()) {
    block.resize(std::min(size - done, kBlock));
    check(file.read_at(offset + done, block) == block.size(), "{} ends at byte {}, before byte {}",
          file.path().string(), file.size(), offset + size);
    checksum.update(block);
  }
  return checksum.value();
}

}  // namespace tessera
