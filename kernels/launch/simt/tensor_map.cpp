#include "kernels/launch/simt/tensor_map.h"

#include "core/check.h"

namespace tessera::simt {
namespace {

constexpr uint32_t kMagic = 0x544d4150;
constexpr uint64_t kAlign = 16, kMostBox = 256, kMostStride = uint64_t{1} << 40;

void check_dimensions(const gpu::TensorLayout& layout) {
  for (size_t r = 0; r < size_t(layout.rank); ++r) {
    check(layout.sizes[r] >= 1 && layout.sizes[r] < (uint64_t{1} << 32),
          "encode_tensor_map: size {} of dimension {} is not in 1..2^32-1", layout.sizes[r], r);
    check(layout.box[r] >= 1 && layout.box[r] <= kMostBox,
          "encode_tensor_map: box {} of dimension {} is not in 1..{}", layout.box[r], r, kMostBox);
    if (r == 0) continue;
    const uint64_t stride = layout.strides[r - 1];
    check(stride % kAlign == 0 && stride < kMostStride,
          "encode_tensor_map: stride {} of dimension {} is no multiple of {} below 2^40", stride, r,
          kAlign);
  }
}

}  // namespace

bool TensorMap::is_valid() const {
  return reinterpret_cast<uintptr_t>(this) % alignof(TensorMap) == 0 && magic == kMagic;
}

uint32_t TensorMap::box_bytes() const {
  uint32_t bytes = element_bytes;
  for (size_t r = 0; r < rank; ++r) bytes *= box[r];
  return bytes;
}

TensorMap encode_tensor_map(DType dtype, const void* base, const gpu::TensorLayout& layout) {
  check(layout.rank >= 1 && layout.rank <= TensorMap::kMaxRank,
        "encode_tensor_map: rank {} is not in 1..{}", layout.rank, TensorMap::kMaxRank);
  check(reinterpret_cast<uintptr_t>(base) % kAlign == 0,
        "encode_tensor_map: address {} is not aligned to {} bytes", base, kAlign);
  check_dimensions(layout);
  TensorMap map{.magic = kMagic,
                .dtype = dtype,
                .rank = uint8_t(layout.rank),
                .swizzle_bits = uint8_t(layout.swizzle),
                .element_bytes = uint8_t(size_of(dtype)),
                .base = static_cast<std::byte*>(const_cast<void*>(base)),
                .sizes = {},
                .strides = layout.strides,
                .box = {}};
  for (size_t r = 0; r < map.rank; ++r) {
    map.sizes[r] = uint32_t(layout.sizes[r]);
    map.box[r] = uint16_t(layout.box[r]);
  }
  check(map.row_bytes() % kAlign == 0, "encode_tensor_map: box rows of {} bytes, no multiple of {}",
        map.row_bytes(), kAlign);
  check(map.swizzle_bits == 0 || map.row_bytes() == 16u << map.swizzle_bits,
        "encode_tensor_map: box rows of {} bytes with a swizzle of {}; they must be equal",
        map.row_bytes(), 16u << map.swizzle_bits);
  return map;
}

}  // namespace tessera::simt
