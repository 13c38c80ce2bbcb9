#include <array>

#include "core/dtype.h"
#include "kernels/launch/simt/collective.h"
#include "kernels/launch/simt/executor.h"
#include "kernels/launch/simt/matrix.h"

namespace tessera::simt {
namespace {

constexpr int kRows = 16, kColumns = 8, kMaxDepth = 32;

template <class T>
std::array<float, 256> make_table() {
  std::array<float, 256> table;
  for (unsigned i = 0; i < 256; ++i) table[i] = to_float(T{uint8_t(i)});
  return table;
}

// f16 through the exponent's difference of bias: 2^112 also normalises subnormals.
float from_f16(uint16_t bits) {
  const uint32_t magnitude = bits & 0x7fffu, sign = uint32_t(bits & 0x8000u) << 16;
  if (magnitude >= 0x7c00u) return to_float(f16{bits});
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

struct Operands {
  float* d;
  const uint32_t *a, *b;
};

struct Tiles {
  float a[kRows][kMaxDepth], b[kMaxDepth][kColumns], d[kRows][kColumns];
};

// Element e of register i of lane 4 g + t (per = 2 or 4 elements a register):
//   A: row g + 8 (i % 2), column per * t + e + 4 per * (i / 2);  B: row per * t + e + 4 per * i,
//   column g;  D: register i is row g + 8 (i / 2), column 2 t + i % 2.
template <MatrixType kA, MatrixType kB, int kDepth, class Table>
void gather(const Table& table, Tiles& tiles) {
  constexpr int kPer = kA == MatrixType::bf16 || kA == MatrixType::f16 ? 2 : 4;
  constexpr int kSpan = 4 * kPer, kHalves = kDepth / kSpan;
  for (int lane = 0; lane < kLanes; ++lane) {
    const Operands& x = *table(lane);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 2 * kHalves; ++i) {
      for (int e = 0; e < kPer; ++e) {
        tiles.a[g + 8 * (i % 2)][kPer * t + e + kSpan * (i / 2)] = element(x.a + i, e, kA);
      }
    }
    for (int i = 0; i < kHalves; ++i) {
      for (int e = 0; e < kPer; ++e) {
        tiles.b[kPer * t + e + kSpan * i][g] = element(x.b + i, e, kB);
      }
    }
    for (int i = 0; i < 4; ++i) tiles.d[g + 8 * (i / 2)][2 * t + i % 2] = x.d[i];
  }
}

template <class Table>
void scatter(const Table& table, const Tiles& tiles) {
  for (int lane = 0; lane < kLanes; ++lane) {
    float* d = table(lane)->d;
    for (int i = 0; i < 4; ++i) d[i] = tiles.d[lane / 4 + 8 * (i / 2)][lane % 4 * 2 + i % 2];
  }
}

template <int kDepth>
void multiply(Tiles& tiles) {
  for (int row = 0; row < kRows; ++row) {
    float sum[kColumns];
    for (int j = 0; j < kColumns; ++j) sum[j] = tiles.d[row][j];
    for (int k = 0; k < kDepth; ++k) {
      const float a = tiles.a[row][k];
      for (int j = 0; j < kColumns; ++j) sum[j] += a * tiles.b[k][j];
    }
    for (int j = 0; j < kColumns; ++j) tiles.d[row][j] = sum[j];
  }
}

template <MatrixType kA, MatrixType kB, int kDepth>
void run(const char* name, Operands& mine, Site site) {
  collective({.name = name}, mine, site, [](auto table) {
    Tiles tiles;
    gather<kA, kB, kDepth>(table, tiles);
    multiply<kDepth>(tiles);
    scatter(table, tiles);
  });
}

}  // namespace

float element(const uint32_t* registers, int index, MatrixType type) {
  static const std::array<float, 256> kE4m3 = make_table<e4m3>(), kE5m2 = make_table<e5m2>();
  switch (type) {
    case MatrixType::bf16:
      return std::bit_cast<float>(registers[index / 2] >> 16 * (index % 2) << 16);
    case MatrixType::f16:
      return from_f16(uint16_t(registers[index / 2] >> 16 * (index % 2)));
    case MatrixType::e4m3:
      return kE4m3[registers[index / 4] >> 8 * (index % 4) & 0xff];
    case MatrixType::e5m2:
      return kE5m2[registers[index / 4] >> 8 * (index % 4) & 0xff];
  }
  return 0;
}

void mma(const MmaShape& shape, float* d, const uint32_t* a, const uint32_t* b, Site site) {
  Operands mine{.d = d, .a = a, .b = b};
  using enum MatrixType;
  if (shape.k == 16 && shape.a == bf16) return run<bf16, bf16, 16>("mma.m16n8k16.bf16", mine, site);
  if (shape.k == 16) return run<f16, f16, 16>("mma.m16n8k16.f16", mine, site);
  if (shape.k == 8 && shape.a == bf16) return run<bf16, bf16, 8>("mma.m16n8k8.bf16", mine, site);
  if (shape.k == 8) return run<f16, f16, 8>("mma.m16n8k8.f16", mine, site);
  const bool a4 = shape.a == e4m3, b4 = shape.b == e4m3;
  if (a4 && b4) return run<e4m3, e4m3, 32>("mma.m16n8k32.e4m3.e4m3", mine, site);
  if (a4) return run<e4m3, e5m2, 32>("mma.m16n8k32.e4m3.e5m2", mine, site);
  if (b4) return run<e5m2, e4m3, 32>("mma.m16n8k32.e5m2.e4m3", mine, site);
  run<e5m2, e5m2, 32>("mma.m16n8k32.e5m2.e5m2", mine, site);
}

}  // namespace tessera::simt
