// TMA: tensor maps and copies between global and shared memory (PTX ISA, "Tensors" and
// "cp.async.bulk.tensor").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/launch/simt/race.h"
#include "kernels/launch/simt/site.h"
#include "kernels/launch/simt/tensor_map.h"

namespace tessera::simt {

enum class BulkKind : uint8_t { load, store, reduce_add };

using Coordinates = std::array<int, TensorMap::kMaxRank>;

struct BulkCopy {
  BulkKind kind;
  TensorMap map;
  Coordinates at;
  uint32_t shared;
  uint32_t mbarrier;  // of a load
  int group;          // of a store
  Site site;
  Fiber* issuer;
  bool done = false;
  Agent agent;
  VectorClock seen;
};

// Starts a copy by the calling thread. `at` is in elements, innermost dimension first.
void tma_load(void* shared, const TensorMap& map, const void* mbarrier, int rank,
              const Coordinates& at, Site site);
void tma_store(BulkKind kind, const TensorMap& map, const void* shared, int rank,
               const Coordinates& at, Site site);
void tma_commit(Site site);
// Makes what the thread has written, or is ordered after, visible to asynchronous reads.
void fence_proxy_async(Site site);
// Until at most `pending` of the thread's groups are unfinished.
void tma_wait(int pending, Site site);

// Carries out a copy that is in flight.
void deliver(Block& block, BulkCopy& copy);

// `address` with bits [4, 4 + b) XORed by bits [7, 7 + b) (taken relative to `base_offset`), where
// b = 0..3 for no, 32-, 64- and 128-byte swizzle.
constexpr uint32_t swizzled(uint32_t address, int bits, uint32_t base_offset = 0) {
  const uint32_t row = ((address >> 7) - base_offset) & 7;
  return address ^ ((row & ((1u << bits) - 1)) << 4);
}

}  // namespace tessera::simt
