// Atomic operations on global or shared memory, and fences.
#pragma once

#include <cstdint>

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

// Return the value before.
int32_t atomic_add(int32_t* p, int32_t v, Site site);
uint32_t atomic_add(uint32_t* p, uint32_t v, Site site);
uint64_t atomic_add(uint64_t* p, uint64_t v, Site site);
float atomic_add(float* p, float v, Site site);
uint32_t atomic_max(uint32_t* p, uint32_t v, Site site);
void thread_fence(Site site);

}  // namespace tessera::simt
