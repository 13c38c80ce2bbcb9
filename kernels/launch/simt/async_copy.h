// Copies of a thread from global to shared memory: cp.async, which arrive when they are waited for,
// and what stands for them on sm_75.
#pragma once

#include <cstdint>

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

// Copies `bytes` (4 or 16), or fills with zeros where source_bytes is 0 and not `bytes`.
void cp_async(uint32_t shared, const void* global, uint32_t bytes, int source_bytes, Site site);
// The same by a load and a store.
void copy_at_once(uint32_t shared, const void* global, uint32_t bytes, int source_bytes, Site site);
void cp_async_commit(Site site);
// Until at most `pending` of the thread's groups are unfinished.
void cp_async_wait(int pending, Site site);

}  // namespace tessera::simt
