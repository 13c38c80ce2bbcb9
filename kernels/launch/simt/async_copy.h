// cp.async: copies of a thread from global to shared memory that arrive when they are waited for.
#pragma once

#include <cstdint>

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

// Copies `source_bytes` (at most `bytes`: 4, 8 or 16) and fills the rest with zeros.
void cp_async(uint32_t shared, const void* global, uint32_t bytes, int source_bytes, Site site);
void cp_async_commit(Site site);
// Until at most `pending` of the thread's groups are unfinished.
void cp_async_wait(int pending, Site site);

}  // namespace tessera::simt
