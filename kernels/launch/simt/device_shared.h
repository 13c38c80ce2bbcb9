// Shared memory of a block; see device.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

std::byte* static_shared(const void* key, uint32_t bytes, uint32_t align, Site site);
std::byte* dynamic_shared(uint32_t align, Site site);
uint32_t shared_address(const void* p, Site site);
// An error if p points into the block's shared memory, which instructions for global memory cannot
// reach.
void refuse_shared(const void* p, const char* operation, Site site);

}  // namespace tessera::simt

namespace tessera::gpu {
inline namespace on_simt {

// The block's T[N], 16-byte aligned: one for each (T, N, Tag).
template <class T, int N, class Tag = void>
T* shared_array(simt::Site site = simt::Site::here()) {
  static const char key = 0;
  constexpr uint32_t kAlign = alignof(T) > 16 ? alignof(T) : 16;
  return reinterpret_cast<T*>(simt::static_shared(&key, sizeof(T) * N, kAlign, site));
}

// Grid::shared_bytes of the launch; the same kAlign everywhere in a kernel.
template <int kAlign = 16>
std::byte* dynamic_shared(simt::Site site = simt::Site::here()) {
  static_assert(kAlign >= 16 && kAlign <= 1024);
  return simt::dynamic_shared(kAlign, site);
}

inline uint32_t shared_address(const void* pointer, simt::Site site = simt::Site::here()) {
  return simt::shared_address(pointer, site);
}

}  // namespace on_simt
}  // namespace tessera::gpu
