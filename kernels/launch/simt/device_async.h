// cp.async; see device.h.
#pragma once

#include "kernels/launch/simt/async_copy.h"

namespace tessera::gpu {
inline namespace on_simt {

// Copies src_bytes (0..16) from global memory and fills the rest of the 16 bytes at `dst`, a shared
// address, with zeros.
inline void cp_async_16(uint32_t dst, const void* src, int src_bytes = 16,
                        simt::Site site = simt::Site::here()) {
  simt::cp_async(dst, src, 16, src_bytes, site);
}
inline void cp_async_4(uint32_t dst, const void* src, int src_bytes = 4,
                       simt::Site site = simt::Site::here()) {
  simt::cp_async(dst, src, 4, src_bytes, site);
}
inline void cp_async_commit(simt::Site site = simt::Site::here()) {
  simt::cp_async_commit(site);
}
// Waits until at most the N latest groups of this thread are under way.
template <int N>
void cp_async_wait(simt::Site site = simt::Site::here()) {
  simt::cp_async_wait(N, site);
}

}  // namespace on_simt
}  // namespace tessera::gpu
