// Warp-wide matrix instructions of mma.sync (PTX ISA, "Warp Level Matrix Multiply-Accumulate").
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "core/dtype.h"
#include "kernels/launch/simt/site.h"
#include "kernels/launch/simt/wgmma_state.h"

namespace tessera::simt {

// `matrices` (1, 2 or 4) of 8x8 16-bit elements; lane 8 i + r gives the address of row r of matrix
// i.
void ldmatrix(uint32_t* registers, uint32_t address, int matrices, bool transposed, Site site);
void stmatrix(uint32_t address, const uint32_t* registers, int matrices, bool transposed,
              Site site);

// D[16, 8] += A[16, k] B[k, 8]; k is 16 or 8 for 16-bit types, 32 for 8-bit ones.
struct MmaShape {
  int k;
  MatrixType a, b;
};
void mma(const MmaShape& shape, float* d, const uint32_t* a, const uint32_t* b, Site site);

// f16 to float: multiplying by 2^112 makes up for the exponent's biases and normalises subnormals.
constexpr float from_f16(uint16_t bits) {
  const uint32_t magnitude = bits & 0x7fffu, sign = uint32_t(bits & 0x8000u) << 16;
  if (magnitude >= 0x7c00u) return to_float(f16{bits});
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

template <class T>
inline constexpr std::array<float, 256> kByteValues = [] {
  std::array<float, 256> values{};
  for (size_t i = 0; i < values.size(); ++i) values[i] = to_float(T{uint8_t(i)});
  return values;
}();

// The value of element `index` of packed registers.
inline float element(const uint32_t* registers, int index, MatrixType type) {
  switch (type) {
    case MatrixType::bf16:
      return std::bit_cast<float>(registers[index / 2] >> 16 * (index % 2) << 16);
    case MatrixType::f16:
      return from_f16(uint16_t(registers[index / 2] >> 16 * (index % 2)));
    case MatrixType::e4m3:
      return kByteValues<e4m3>[registers[index / 4] >> 8 * (index % 4) & 0xff];
    case MatrixType::e5m2:
      return kByteValues<e5m2>[registers[index / 4] >> 8 * (index % 4) & 0xff];
  }
  return 0;
}

}  // namespace tessera::simt
