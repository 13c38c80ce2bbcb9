// The emulator's tensor maps, with the restrictions of cuTensorMapEncodeTiled.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "kernels/launch/gpu/tensor_layout.h"

namespace tessera::simt {

struct alignas(64) TensorMap {
  static constexpr int kMaxRank = 5;

  uint32_t magic;  // tells a tensor map from other memory
  DType dtype;
  uint8_t rank, swizzle_bits, element_bytes;  // swizzle_bits: 0..3 for none, 32, 64, 128 bytes
  std::byte* base;
  std::array<uint32_t, kMaxRank> sizes;        // elements, innermost first
  std::array<uint64_t, kMaxRank - 1> strides;  // bytes, of dimensions 1..
  std::array<uint16_t, kMaxRank> box;          // elements

  bool is_valid() const;
  uint32_t box_bytes() const;
  uint32_t row_bytes() const { return uint32_t(box[0]) * element_bytes; }
};
static_assert(sizeof(TensorMap) == 128, "as large as CUtensorMap");

// Throws Error for what the driver refuses, and for swizzled rows shorter than the swizzle.
TensorMap encode_tensor_map(DType dtype, const void* base, const gpu::TensorLayout& layout);

}  // namespace tessera::simt
