// What the GPU of a context offers to kernels, known at run time. Host side.
#pragma once

#include <string>

#include "core/context.h"

namespace tessera {

struct GpuLimits {
  // Of the code that it runs, which selects among kernels: 75 on Turing, 90 on Hopper, 80 on
  // others, newer ones too: what they get is PTX of sm_80. On simt that of the emulated GPU.
  int architecture;
  int shared_bytes;  // that a block may have
};
template <Device device>
GpuLimits gpu_limits(Context& ctx);

// For messages: "Tesla T4 (sm_75)", "simt (sm_75)".
template <Device device>
std::string describe_gpu(Context& ctx);

}  // namespace tessera
