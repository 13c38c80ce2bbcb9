// core/random.h's numbers in kernels, the same bits as on the host.
#pragma once

#include "core/random.h"
#include "kernels/launch/gpu/device.h"

namespace tessera::gpu {
#if defined(__CUDACC__)
inline namespace on_cuda {
#else
inline namespace on_simt {
#endif

// Numbers for elements 4 b .. 4 b + 3. Index them with constants only: an index known at run time
// would put them into local memory.
__device__ inline Vector<uint32_t, 4> philox_block(const Philox& random, uint64_t b) {
  const auto block = random.block(b);
  return {{block[0], block[1], block[2], block[3]}};
}

__device__ inline uint32_t philox_bits(const Philox& random, uint64_t element) {
  const auto block = random.block(element / 4);
  const uint32_t low = element & 1 ? block[1] : block[0], high = element & 1 ? block[3] : block[2];
  return element & 2 ? high : low;
}

// Uniform in [0, 1), as Philox::uniform.
__device__ inline float philox_uniform(const Philox& random, uint64_t element) {
  return float(philox_bits(random, element) >> 8) * 0x1p-24f;
}

}  // namespace on_...
}  // namespace tessera::gpu
