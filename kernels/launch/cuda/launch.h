// launch() on CUDA; see kernels/launch/gpu/launch.h.
#pragma once

#include <type_traits>

#include "kernels/launch/gpu/grid.h"

namespace tessera {
class Context;
}

namespace tessera::gpu {
inline namespace on_cuda {

// `arguments` points to the kernel's arguments in order.
void launch_kernel(Context& ctx, const void* kernel, const Grid& grid, void** arguments);

template <class... P>
void launch(Context& ctx, void (*kernel)(P...), const Grid& grid,
            std::type_identity_t<P>... arguments) {
  void* pointers[] = {const_cast<std::remove_const_t<P>*>(&arguments)..., nullptr};
  launch_kernel(ctx, reinterpret_cast<const void*>(kernel), grid, pointers);
}

}  // namespace on_cuda
}  // namespace tessera::gpu
