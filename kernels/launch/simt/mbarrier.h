// mbarriers (PTX ISA, "mbarrier"): phases that end when all expected arrivals and bytes are there.
#pragma once

#include <cstdint>

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

struct Block;
struct BulkCopy;

void mbarrier_init(const void* barrier, uint32_t arrivals, Site site);
// Expects `bytes` more in this phase, then arrives.
void mbarrier_arrive(const void* barrier, uint32_t bytes, Site site);
// Whether the phase of this parity has ended.
bool mbarrier_try_wait(const void* barrier, uint32_t parity, Site site);
void mbarrier_wait(const void* barrier, uint32_t parity, Site site);

// The shared address of an initialised mbarrier.
uint32_t mbarrier_address(const void* barrier, const char* operation, Site site);
// The bytes of a load have arrived.
void complete_bytes(Block& block, const BulkCopy& copy);

}  // namespace tessera::simt
