// The RMSNorm loops of one instruction-set level.
#pragma once

#include "core/isa.h"
#include "kernels/rms_norm/data.h"

namespace tessera {

template <class S>
struct RmsNormCpu {
  void (*forward)(int threads, const RmsNormForwardData<S>&);
  void (*backward)(int threads, const RmsNormBackwardData<S>&);
};
template <Isa isa, class S>
RmsNormCpu<S> rms_norm_cpu();

}  // namespace tessera
