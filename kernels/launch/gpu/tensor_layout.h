// How tiles lie in memory for TMA and wgmma; the same for CUDA and the emulator.
#pragma once

#include <array>
#include <cstdint>

namespace tessera::gpu {

// Rows of a tile in shared memory are that many bytes, and their 16-byte chunks are permuted within
// 8 rows: address bits [4, 7) are XORed with bits [7, 10) (128 bytes), and fewer of them for fewer
// bytes.
enum class Swizzle : uint8_t { none, bytes32, bytes64, bytes128 };

// Which index of an operand of wgmma is contiguous: k, or that of the rows of A or columns of B.
enum class Major : uint8_t { k, mn };

// A tensor of up to 5 dimensions, innermost first, and the box of it that one TMA operation moves.
struct TensorLayout {
  int rank;
  std::array<uint64_t, 5> sizes;    // elements
  std::array<uint64_t, 4> strides;  // bytes, of dimensions 1, 2, ...: multiples of 16
  std::array<uint32_t, 5> box;      // elements, at most 256; box[0] is a multiple of 16 bytes
  Swizzle swizzle = Swizzle::none;
};

// A matrix in shared memory, for wgmma (PTX ISA, "Matrix Descriptor Format"). Offsets in bytes:
//   k-major:  rows of 8 lie together, `stride` from one 8 to the next; `leading` counts only
//             without swizzle: from one 16-byte column to the next.
//   mn-major, swizzled: `leading` from one row of the swizzle to the next along mn, `stride` from
//             8 k to the next.
constexpr uint64_t matrix_descriptor(uint32_t shared_address, uint32_t leading, uint32_t stride,
                                     Swizzle swizzle) {
  constexpr uint64_t kModes[] = {0, 3, 2, 1};
  return uint64_t((shared_address & 0x3ffff) >> 4) | uint64_t(leading >> 4) << 16 |
         uint64_t(stride >> 4) << 32 | kModes[int(swizzle)] << 62;
}

}  // namespace tessera::gpu
