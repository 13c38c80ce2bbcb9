// Barriers of a block: barrier 0 of all threads and the named ones (PTX ISA, "bar").
#pragma once

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

void sync_block(Site site);
// `threads` arrivals, all of whole warps, complete a phase; barrier_arrive does not wait.
void barrier_sync(int id, int threads, Site site);
void barrier_arrive(int id, int threads, Site site);

}  // namespace tessera::simt
