// The race detector: vector clocks over the threads of a block and over the asynchronous agents
// (copies by TMA, products by wgmma) that act on its behalf (after Flanagan and Freund,
// "FastTrack", PLDI 2009). It watches shared memory, byte by byte.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

struct Block;
struct Fiber;

// clock[a] is the last moment of agent `a` that the owner is ordered after.
using VectorClock = std::vector<uint32_t>;
void join(VectorClock& clock, const VectorClock& other);

enum class Access : uint8_t { read, write, async_read, async_write, atomic };

// Who accesses memory, at which moment of its own, and what it is ordered after.
struct Agent {
  uint16_t id = 0;
  uint32_t time = 0;
  const VectorClock* seen = nullptr;
  const VectorClock* fenced = nullptr;  // what its issuers' proxy fences cover
};

class RaceDetector {
 public:
  // All of the block's shared memory is uninitialised.
  void begin(Block& block, bool on);
  bool on() const { return on_; }
  int agents() const { return agents_; }

  // Checks an access against all earlier ones and records it.
  void access(uint32_t address, uint32_t bytes, Access kind, const Agent& agent, Site site);
  void thread_access(const Fiber& fiber, uint32_t address, uint32_t bytes, Access kind, Site site);
  // While a copy into the range is in flight, nobody may touch it.
  void set_in_flight(uint32_t address, uint32_t bytes, bool in_flight);

  // The agent of the next asynchronous copy; `seen` becomes what it is ordered after: nothing that
  // the issuer does from now on.
  Agent new_copy_agent(Fiber& issuer, VectorClock& seen);
  // The agent of the wgmma operations that warpgroup `group` commits as its number `number`.
  uint16_t wgmma_agent(int group, uint64_t number) const;

  // Synchronisation: `fiber` publishes what it has done, takes over what others have published.
  void release(Fiber& fiber, VectorClock& into);
  void acquire(Fiber& fiber, const VectorClock& from);
  void fence_async_proxy(Fiber& fiber);

 private:
  static constexpr int kCopyAgents = 64, kWgmmaAgents = 16;

  struct Cell {
    uint32_t write_time = 0;
    uint32_t read_time = 0;
    uint16_t writer = 0, reader = 0;
    uint8_t readers = 0;  // 0, 1 or kMany: then they are in lists_[list]
    bool initialised = false, in_flight = false, async_write = false, atomic_write = false;
    int32_t list = -1;
  };
  static constexpr uint8_t kMany = 2;

  // 16 bytes with one history, or with one for each byte.
  static constexpr uint32_t kChunk = 16;
  struct Chunk {
    Cell whole;
    bool split = false;
    int32_t parts = -1;  // index into parts_
    uint64_t block = 0;  // the number of the block that the history is of
  };

  // Calls visit(cell, address of its first byte) for the cells of a range; `equalises` tells that
  // all of them are the same afterwards.
  template <class Visit>
  void for_each_cell(uint32_t address, uint32_t bytes, bool equalises, Visit visit);
  void split(Chunk& chunk);
  int32_t new_list();
  void check_cell(const Cell& cell, uint32_t address, Access kind, const Agent& agent, Site site);
  void check_proxy(const Cell& cell, uint32_t address, Access kind, const Agent& agent, Site site);
  void check_readers(const Cell& cell, uint32_t address, const Agent& agent, Site site);
  void record(Cell& cell, Access kind, const Agent& agent);
  void record_read(Cell& cell, const Agent& agent);
  std::string name_of(uint16_t agent) const;

  Block* block_ = nullptr;
  bool on_ = false;
  int threads_ = 0, agents_ = 0;
  std::vector<Chunk> chunks_;  // of shared memory
  std::vector<std::array<Cell, kChunk>> parts_;
  std::vector<std::vector<std::pair<uint16_t, uint32_t>>> lists_;  // readers of a cell: id, time
  size_t used_lists_ = 0;
  uint64_t blocks_ = 0;  // so far
  uint32_t copies_ = 0;
  std::vector<uint32_t> copy_times_;
};

}  // namespace tessera::simt
