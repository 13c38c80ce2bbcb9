// Counts of shared-memory bank conflicts by source line.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

// Of one source line: warp-wide accesses, the cycles they take, and those they would take without
// conflicts. Lanes that read the same word share it.
struct BankCount {
  uint64_t accesses = 0, cycles = 0, ideal_cycles = 0;
};

class BankConflicts {
 public:
  // One phase of an access: `bytes` (4, 8 or 16) at each of `addresses`, all at once.
  void add_phase(Site site, std::span<const uint32_t> addresses, uint32_t bytes);
  void add_access(Site site) { ++counts_[{site.file, site.line}].accesses; }
  // Of a running block.
  struct WarpId {
    const void* block;  // any identity
    int warp;
  };
  // The next load or store that lane `lane` of a warp executes at `site`. The k-th ones of all
  // `live` lanes make up the k-th access of the warp.
  void add_lane(Site site, WarpId warp, int lane, uint32_t live, uint32_t address, uint32_t bytes);
  // Counts the accesses that only some lanes of the block's warps have made.
  void end_block(const void* block);

  // By "file:line".
  std::map<std::string, BankCount> counts() const;

 private:
  struct Access {
    uint32_t addresses[32] = {};
    uint32_t lanes = 0, bytes = 0;
  };
  struct Partial {
    uint64_t done[32] = {};  // accesses by lane
    uint64_t first = 0;      // the number of queue[0]
    std::deque<Access> queue;
  };
  using Key = std::pair<const char*, int>;

  void finish(Site site, const Access& access);

  std::map<Key, BankCount> counts_;
  std::map<const void*, std::map<std::pair<Key, int>, Partial>> partial_;  // by block; key, warp
};

}  // namespace tessera::simt
