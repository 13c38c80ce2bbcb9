// Starts kernels. Host side, for `.cu` files:
//   launch(ctx, kernel<float>, {.x = blocks, .threads = 128}, arguments...);
// in the order of the context's stream on CUDA, at once in the emulator. Throws Error, with the
// kernel's name, where the device refuses the launch.
#pragma once

#if defined(__CUDACC__)
#include "kernels/launch/cuda/launch.h"
#else
#include "kernels/launch/simt/launch.h"
#endif
