// launch() in the emulator; see kernels/launch/gpu/launch.h.
#pragma once

#include <tuple>
#include <type_traits>

#include "kernels/launch/gpu/grid.h"
#include "kernels/launch/simt/kernel.h"

// The oldest architecture that a file's kernels are compiled for, set by tessera_gpu_sources().
#ifndef TESSERA_CODE_ARCHITECTURE
#define TESSERA_CODE_ARCHITECTURE 75
#endif

namespace tessera {
class Context;
}

namespace tessera::gpu {
inline namespace on_simt {

// Runs the kernel in the emulator of the context, ctx.state<simt::Emulator>().
void launch_kernel(Context& ctx, const simt::Kernel& kernel, const Grid& grid);

// kArchitecture: see simt::Kernel.
template <int kArchitecture = TESSERA_CODE_ARCHITECTURE, class... P>
void launch(Context& ctx, void (*kernel)(P...), const Grid& grid,
            std::type_identity_t<P>... arguments) {
  using Call = std::tuple<void (*)(P...), std::remove_const_t<P>...>;
  const Call call(kernel, arguments...);
  const auto run = [](const void* c) {
    std::apply([](auto function, const auto&... values) { function(values...); },
               *static_cast<const Call*>(c));
  };
  launch_kernel(ctx, {.run = run, .arguments = &call, .architecture = kArchitecture}, grid);
}

}  // namespace on_simt
}  // namespace tessera::gpu
