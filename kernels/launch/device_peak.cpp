#include "kernels/launch/device_peak.h"

#include <unistd.h>

#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/cpu/peak.h"
#ifdef TESSERA_WITH_CUDA
#include "kernels/launch/cuda/properties.h"
#endif
#ifdef TESSERA_WITH_SIMT
#include "kernels/launch/simt/options.h"
#endif

namespace tessera {

double device_peak_flops(const Context& ctx, DType dtype, [[maybe_unused]] bool tf32) {
  if (ctx.device() == Device::cpu) return measure_peak_flops(ctx.isa(), ctx.threads(), dtype);
#ifdef TESSERA_WITH_CUDA
  if (ctx.device() == Device::cuda) return cuda_properties().peak_flops(dtype, tf32);
#endif
  return 0;
}

bool device_has_bf16([[maybe_unused]] Device device) {
#ifdef TESSERA_WITH_CUDA
  if (device == Device::cuda && cuda_device_count() > 0) return cuda_properties().major >= 8;
#endif
#ifdef TESSERA_WITH_SIMT
  if (device == Device::simt) return simt::options_from_environment().architecture >= 80;
#endif
  return true;
}

double device_memory_bytes([[maybe_unused]] Device device) {
#ifdef TESSERA_WITH_CUDA
  if (device == Device::cuda) return cuda_properties().memory_bytes;
#endif
  return double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGESIZE));
}

std::string device_description(const Context& ctx) {
#ifdef TESSERA_WITH_CUDA
  if (ctx.device() == Device::cuda) return cuda_properties().name;
#endif
  if (ctx.device() == Device::simt) return "emulated CUDA";
  return fmt::format("{} threads ({})", ctx.threads(), isa_name(ctx.isa()));
}

}  // namespace tessera
