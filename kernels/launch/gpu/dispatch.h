// From a GPU device known at run time to one known at compile time. For files of libraries that
// have kernels (see tessera_gpu_sources).
#pragma once

#include "core/check.h"
#include "core/device.h"

namespace tessera {

// Calls f.template operator()<Device::cuda>() or <Device::simt>(). Throws Error for a device that
// this build lacks.
template <class F>
void dispatch_gpu(Device device, [[maybe_unused]] F&& f) {
#ifdef TESSERA_WITH_CUDA
  if (device == Device::cuda) return f.template operator()<Device::cuda>();
#endif
#ifdef TESSERA_WITH_SIMT
  if (device == Device::simt) return f.template operator()<Device::simt>();
#endif
  fail("device {} is not in this build: configure with -DTESSERA_{}=ON", name_of(device),
       device == Device::cuda ? "CUDA" : "SIMT");
}

}  // namespace tessera
