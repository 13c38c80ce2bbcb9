// The RMSNorm kernels of a GPU device.
#pragma once

#include "core/device.h"
#include "kernels/rms_norm/data.h"

namespace tessera {

class Context;

template <class S>
struct RmsNormGpu {
  void (*forward)(Context&, const RmsNormForwardData<S>&);
  void (*backward)(Context&, const RmsNormBackwardData<S>&);
};
template <Device device, class S>
RmsNormGpu<S> rms_norm_gpu();

}  // namespace tessera
