// The emulator's tensor maps, with the restrictions of cuTensorMapEncodeTiled.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace tessera::simt {

enum class TensorMapType : uint8_t { u8, bf16, f16, f32 };

struct alignas(64) TensorMap {
  static constexpr int kMaxRank = 5;
  static constexpr uint32_t kMagic = 0x544d4150;

  uint32_t magic;
  TensorMapType type;
  uint8_t rank, swizzle_bits, element_bytes;  // swizzle_bits: 0..3 for none, 32, 64, 128 bytes
  std::byte* base;
  std::array<uint32_t, kMaxRank> sizes;        // elements, innermost first
  std::array<uint64_t, kMaxRank - 1> strides;  // bytes, of dimensions 1..
  std::array<uint16_t, kMaxRank> box;          // elements

  uint32_t box_bytes() const {
    uint32_t bytes = element_bytes;
    for (int r = 0; r < rank; ++r) bytes *= box[r];
    return bytes;
  }
};
static_assert(sizeof(TensorMap) == 128, "as large as CUtensorMap");

}  // namespace tessera::simt
