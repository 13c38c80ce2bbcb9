// mbarriers (PTX ISA, "mbarrier"): phases that end when all expected arrivals and bytes are there.
#pragma once

#include <cstdint>

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

struct Block;
struct BulkCopy;
struct Fiber;

void mbarrier_init(const void* barrier, uint32_t arrivals, Site site);
// Expects `bytes` more in this phase, then arrives.
void mbarrier_arrive(const void* barrier, uint32_t bytes, Site site);
// Whether the phase of this parity has ended.
bool mbarrier_try_wait(const void* barrier, uint32_t parity, Site site);
void mbarrier_wait(const void* barrier, uint32_t parity, Site site);

// Makes the mbarriers that the thread has initialised visible to TMA.
void fence_mbarrier_init(Site site);
// The same of all whose initialisation the thread is ordered after.
void fence_known_mbarriers(const Fiber& fiber);

// The shared address of an initialised mbarrier that TMA sees.
uint32_t address_for_tma(const void* barrier, const char* operation, Site site);
// The bytes of a load have arrived.
void complete_bytes(Block& block, const BulkCopy& copy);

}  // namespace tessera::simt
