#include "kernels/launch/simt/launch.h"

#include "core/context.h"
#include "kernels/launch/simt/emulator.h"

namespace tessera::gpu {
inline namespace on_simt {

void launch_kernel(Context& ctx, const simt::Kernel& kernel, const Grid& grid) {
  const EmulatedWork work(ctx.pool().segments());
  ctx.state<simt::Emulator>().launch(kernel, grid, ctx.threads());
}

}  // namespace on_simt
}  // namespace tessera::gpu
