// The state of a running block: its threads (fibers), warps and the things they synchronise on.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "kernels/launch/simt/bulk_copy.h"
#include "kernels/launch/simt/context_switch.h"
#include "kernels/launch/simt/race.h"
#include "kernels/launch/simt/shared_memory.h"
#include "kernels/launch/simt/site.h"
#include "kernels/launch/simt/thread_view.h"
#include "kernels/launch/simt/wgmma_state.h"

namespace tessera::simt {

constexpr int kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

class Executor;
struct Warp;

enum class WaitKind : uint8_t { none, collective, barrier, mbarrier, wgmma, registers, turn };

// What a blocked thread waits for; a and b depend on the kind.
struct Wait {
  WaitKind kind = WaitKind::none;
  const char* operation = "";
  Site site{};
  uint64_t a = 0, b = 0;
};

// One cp.async.
struct AsyncCopy {
  uint32_t shared;
  const void* global;
  uint32_t bytes, source_bytes;
  int group;
  bool delivered;
  Site site;
};

struct Fiber : ThreadView {
  Coroutine coroutine;
  std::byte* stack = nullptr;
  Block* block = nullptr;
  Warp* warp = nullptr;
  int number = 0;  // in the block
  bool finished = false;
  Wait wait;
  int polls = 0;  // of mbarriers, in vain, without a break

  std::vector<AsyncCopy> copies;
  int copy_group = 0;
  std::vector<std::shared_ptr<BulkCopy>> stores;
  int store_group = 0;

  VectorClock clock;
  VectorClock fence_clock;  // `clock` at the last proxy fence
  uint32_t fence_time = 0;
};

// Lanes of a warp that meet to execute one instruction.
struct Meeting {
  const char* operation = nullptr;
  Site site{};
  uint32_t mask = 0, arrived = 0;
  std::array<void*, kLanes> arguments{};
};

struct Warp {
  Block* block = nullptr;
  int index = 0;
  uint32_t runnable = 0, live = 0;  // lanes
  uint32_t priority = 0;
  uint32_t rotation = 0;  // the lane that is looked at first
  // Masks that meet are disjoint and have at least two lanes.
  static constexpr size_t kMeetings = kLanes / 2;
  uint32_t open_meetings = 0;  // bit i: meetings[i] is going on
  std::array<Meeting, kMeetings> meetings{};
  size_t executing = 0;   // the meeting whose last lane runs
  int registers = 0;      // per thread
  Site registers_site{};  // of their last change
  WarpWgmma wgmma;
};

struct NamedBarrier {
  int threads = 0, arrived = 0;
  std::vector<uint8_t> who;  // of the threads have arrived
  std::vector<Fiber*> waiting;
  VectorClock clock;
  Site site{};
};

struct Mbarrier {
  uint32_t expected = 0, pending = 0;  // arrivals
  int64_t bytes = 0;                   // the tx-count
  uint32_t phase = 0;
  uint64_t completed = 0;
  std::vector<Fiber*> waiting;
  Site site{};
  const Fiber* initialiser = nullptr;
  uint32_t initialised = 0;  // the moment, on the initialiser's clock
  bool fenced = false;       // since then, for TMA
  VectorClock clock, completed_clock;
};

struct Block {
  static constexpr int kBarriers = 16;

  Executor* executor = nullptr;
  bool active = false;
  Index3 index{};
  uint32_t number = 0;  // in the grid
  int threads = 0, live = 0;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  SharedMemory shared;
  std::array<NamedBarrier, kBarriers> barriers;
  std::unordered_map<uint32_t, Mbarrier> mbarriers;  // by address
  std::vector<std::shared_ptr<BulkCopy>> in_flight;
  std::vector<Warpgroup> warpgroups;
  int free_registers = 0;
  RaceDetector race;
};

// The calling thread of the kernel; an Error outside of kernels.
Fiber& current_fiber(const char* operation, Site site);

}  // namespace tessera::simt
