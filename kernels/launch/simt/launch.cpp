#include "kernels/launch/simt/launch.h"

#include "core/context.h"
#include "kernels/launch/gpu/limits.h"
#include "kernels/launch/simt/emulator.h"

namespace tessera::gpu {
inline namespace on_simt {

void launch_kernel(Context& ctx, const simt::Kernel& kernel, const Grid& grid) {
  const EmulatedWork work(ctx.pool().segments());
  ctx.state<simt::Emulator>().launch(kernel, grid, ctx.threads());
}

}  // namespace on_simt

}  // namespace tessera::gpu

namespace tessera {

template <>
GpuLimits gpu_limits<Device::simt>(Context& ctx) {
  const simt::Options& options = ctx.state<simt::Emulator>().options();
  const int n = options.architecture;
  return {.architecture = n > 80 && n < 90 ? 80 : n, .shared_bytes = options.shared_limit};
}

template <>
std::string describe_gpu<Device::simt>(Context& ctx) {
  return fmt::format("simt (sm_{})", ctx.state<simt::Emulator>().options().architecture);
}

}  // namespace tessera
