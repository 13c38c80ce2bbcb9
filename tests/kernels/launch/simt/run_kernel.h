// Runs one kernel in an emulator of its own.
#pragma once

#include <string>
#include <type_traits>

#include "core/context.h"
#include "kernels/launch/gpu/launch.h"
#include "kernels/launch/simt/emulator.h"

namespace tessera::simt_test {

// The kernel's error, "" if it has none.
template <class... P>
std::string error_of(const simt::Options& options, void (*kernel)(P...), const gpu::Grid& grid,
                     std::type_identity_t<P>... arguments) {
  Context ctx({.device = Device::simt});
  ctx.state<simt::Emulator>().options() = options;
  try {
    gpu::launch(ctx, kernel, grid, arguments...);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace tessera::simt_test
