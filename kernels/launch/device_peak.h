// What a device is: its arithmetic peak, which MFU and benchmarks are shares of, memory and name.
#pragma once

#include <string>

#include "core/context.h"

namespace tessera {

// FLOP/s of dense products of the dtype: measured on `cpu` (see cpu/peak.h), computed from the
// device's properties on `cuda`, 0 (there is none) on `simt`. `tf32`: f32 products on `cuda` round
// their factors, as CublasLtOptions::tf32 has them do.
double device_peak_flops(const Context& ctx, DType dtype, bool tf32 = false);

// Whether the device has products in bf16: not a GPU before sm_80, nor `simt` that plays one. True
// where there is no GPU to ask.
bool device_has_bf16(Device device);

// Bytes of memory that the device has in all: the GPU's, or the machine's.
double device_memory_bytes(Device device);

// "2 threads (avx512_bf16)", "NVIDIA H200", "emulated CUDA".
std::string device_description(const Context& ctx);

}  // namespace tessera
