#include <array>

#include "kernels/launch/simt/architecture.h"
#include "kernels/launch/simt/clones.h"
#include "kernels/launch/simt/collective.h"
#include "kernels/launch/simt/executor.h"
#include "kernels/launch/simt/matrix.h"

namespace tessera::simt {
namespace {

constexpr int kRows = 16, kColumns = 8, kMaxDepth = 32;

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

TESSERA_SIMT_CLONES void multiply(Tiles& tiles, int depth) {
  for (int row = 0; row < kRows; ++row) {
    float sum[kColumns];
    for (int j = 0; j < kColumns; ++j) sum[j] = tiles.d[row][j];
    for (int k = 0; k < depth; ++k) {
      const float a = tiles.a[row][k];
      for (int j = 0; j < kColumns; ++j) sum[j] += a * tiles.b[k][j];
    }
    for (int j = 0; j < kColumns; ++j) tiles.d[row][j] = sum[j];
  }
}

// PTX ISA, "Target ISA Notes" of mma.
template <MatrixType kA, int kDepth>
constexpr int architecture_of() {
  if (kDepth == 32) return 89;
  return kDepth == 16 || kA == MatrixType::bf16 ? 80 : 75;
}

template <MatrixType kA, MatrixType kB, int kDepth>
void run(const char* name, Operands& mine, Site site) {
  require_architecture(architecture_of<kA, kDepth>(), name, site);
  collective({.name = name}, mine, site, [](auto table) {
    Tiles tiles;
    gather<kA, kB, kDepth>(table, tiles);
    multiply(tiles, kDepth);
    scatter(table, tiles);
  });
}

}  // namespace

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
