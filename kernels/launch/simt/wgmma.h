// Asynchronous products of a warpgroup (PTX ISA, "Asynchronous Warpgroup Level Matrix
// Instructions") and the warp's share of the registers.
#pragma once

#include <cstdint>

#include "kernels/launch/simt/site.h"
#include "kernels/launch/simt/wgmma_state.h"

namespace tessera::simt {

struct Block;

void wgmma_fence(Site site);
void wgmma_commit(Site site);
// Until at most `pending` of the warp's groups are unfinished.
void wgmma_wait(int pending, Site site);
// D[64, n] = A[64, k] B[k, n] (+ D).
void wgmma(const WgmmaArguments& arguments, Site site);

// Changes the registers that each thread of the warp may use; an increase waits until the block has
// them.
void set_max_registers(int registers, bool increase, Site site);

// Checks what a complete operation will read of shared memory: rows 16 w of A as warp w, B as every
// warp. The reads count from its issue on.
void check_operands(Block& block, const Warpgroup& group, WgmmaOperation& operation);
// The product itself: reads the operands from shared memory or the issuing threads' registers.
void multiply(const Block& block, WgmmaOperation& operation);

}  // namespace tessera::simt
