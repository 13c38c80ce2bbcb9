// Warp-wide matrix instructions of mma.sync (PTX ISA, "Warp Level Matrix Multiply-Accumulate").
#pragma once

#include <cstdint>

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

// The value of element `index` of packed registers.
float element(const uint32_t* registers, int index, MatrixType type);

}  // namespace tessera::simt
