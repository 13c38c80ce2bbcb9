// The arithmetic peak of this machine, measured: what MFU and benchmarks are shares of.
#pragma once

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

// FLOP/s of register-only multiply-adds on `threads` threads: the best of several bursts of about 1
// ms. For bf16 the rate of vdpbf16ps; without that instruction bf16 is computed in f32, and so is
// its peak.
double measure_peak_flops(Isa isa, int threads, DType dtype);

// One thread's burst of `iterations` rounds; returns the floating-point operations done.
struct PeakCpu {
  double (*f32)(long iterations);
  double (*bf16)(long iterations);
};
template <Isa isa>
PeakCpu peak_cpu();

}  // namespace tessera
