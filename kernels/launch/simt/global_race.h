// The race detector for global memory, where threads of all blocks of a launch meet. Within a block
// threads are ordered by the clocks of race.h; between blocks nothing orders but the end of the
// launch, for no kernel here hands data on by atomics and fences.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "kernels/launch/simt/race.h"

namespace tessera::simt {

// Of one launch, whose blocks run on one OS thread.
class GlobalRaceDetector {
 public:
  // Checks an access against the last write and up to two reads of each byte, so that it may miss
  // a race with a third reader, and records it.
  void access(const Fiber& fiber, const void* p, size_t bytes, Access kind, Site site);

 private:
  struct Moment {
    uint32_t block = 0, thread = 0;
    uint32_t time = 0;  // on the thread's clock; 0: never
  };
  struct Cell {
    Moment write;
    std::array<Moment, 2> reads;
    bool atomic = false;  // the write
    Site site{};          // of the write
  };
  // Words with one history, or with one for each byte.
  static constexpr uintptr_t kWord = 4, kPageWords = 256;
  struct Page {
    std::array<Cell, kPageWords> words;
    std::unordered_map<uintptr_t, std::array<Cell, kWord>> bytes;
  };

  Page& page_of(uintptr_t word);
  void visit(Cell& cell, uintptr_t address, const Fiber& fiber, Access kind, Site site) const;

  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  uintptr_t last_number_ = ~uintptr_t{0};
  Page* last_ = nullptr;
};

}  // namespace tessera::simt
