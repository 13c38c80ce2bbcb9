// The RoPE kernel of one GPU device.
#pragma once

#include "core/context.h"
#include "kernels/rope/cpu.h"

namespace tessera {

// Device pointers. A row whose position is outside [0, limit) becomes NaN: the host cannot look.
template <class S>
struct RopeGpu : RopeCpu<S> {
  int64_t limit;  // rows of cos and sin
};

template <Device device, class S>
void rope_gpu(Context& ctx, const RopeGpu<S>& args);

}  // namespace tessera
