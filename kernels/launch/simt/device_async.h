// cp.async; see device.h.
#pragma once

#include "kernels/launch/simt/architecture.h"
#include "kernels/launch/simt/async_copy.h"

namespace tessera::gpu {
inline namespace on_simt {

// cp.async, or what stands for it on sm_75: a copy at once, which nobody waits for.
inline bool copies_at_once(simt::Site site) {
  return simt::architecture("cp.async", site) < 80;
}

// Copies 16 bytes from global memory to `dst`, a shared address; with src_bytes = 0 it fills them
// with zeros.
inline void cp_async_16(uint32_t dst, const void* src, int src_bytes = 16,
                        simt::Site site = simt::Site::here()) {
  (copies_at_once(site) ? simt::copy_at_once : simt::cp_async)(dst, src, 16, src_bytes, site);
}
// The same for 4 bytes.
inline void cp_async_4(uint32_t dst, const void* src, int src_bytes = 4,
                       simt::Site site = simt::Site::here()) {
  (copies_at_once(site) ? simt::copy_at_once : simt::cp_async)(dst, src, 4, src_bytes, site);
}
inline void cp_async_commit(simt::Site site = simt::Site::here()) {
  if (!copies_at_once(site)) simt::cp_async_commit(site);
}
// Waits until at most the N latest groups of this thread are under way.
template <int N>
void cp_async_wait(simt::Site site = simt::Site::here()) {
  if (!copies_at_once(site)) simt::cp_async_wait(N, site);
}

}  // namespace on_simt
}  // namespace tessera::gpu
