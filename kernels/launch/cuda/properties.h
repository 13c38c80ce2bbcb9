// What the CUDA device in use is. Plain C++, for code outside `.cu` files.
#pragma once

#include <string>

#include "core/dtype.h"

namespace tessera {

struct CudaProperties {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  double clock = 0;         // Hz, boost
  double memory_bytes = 0;  // global memory

  // FLOP/s of dense products with sums in f32, at the boost clock: multiprocessors x clock x the
  // rate per clock of the architecture (tensor cores for bf16 and f16, and for f32 where `tf32`
  // asks for them and the device has them).
  double peak_flops(DType dtype, bool tf32 = false) const;
};

// Throws Error where there is no usable device.
CudaProperties cuda_properties();

}  // namespace tessera
