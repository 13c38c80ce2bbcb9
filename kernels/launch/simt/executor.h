// Runs blocks on one OS thread: starts their fibers, decides which runs, and finds deadlocks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/launch/gpu/grid.h"
#include "kernels/launch/simt/bank_conflicts.h"
#include "kernels/launch/simt/global_race.h"
#include "kernels/launch/simt/kernel.h"
#include "kernels/launch/simt/options.h"
#include "kernels/launch/simt/rng.h"
#include "kernels/launch/simt/state.h"

namespace tessera::simt {

// What the executors of one launch share.
struct LaunchState {
  Kernel kernel;
  gpu::Grid grid;
  const Options* options;
  bool race;
  GlobalRaceDetector* global_race;  // null without race checks
  uint64_t seed;
  std::vector<uint32_t> order;  // of blocks
  std::atomic<size_t> next{0};  // index into `order`
  std::atomic<bool> stop{false};
};

struct ExecutorCounts {
  uint64_t switches = 0, collectives = 0, blocks = 0;
};

class Executor {
 public:
  Executor();
  // Runs blocks until none is left; throws the first error of a kernel.
  void run(LaunchState& launch);
  const ExecutorCounts& counts() const { return counts_; }
  BankConflicts& bank_conflicts() { return banks_; }

  // For operations of the running thread.
  Fiber& running() { return *running_; }
  const Options& options() const { return *launch_->options; }
  Rng& rng() { return rng_; }
  AsyncDelivery delivery() const { return delivery_; }
  // Whether an asynchronous operation that is issued now takes effect at once.
  bool delivers_now();
  // Carries out one copy that is in flight; false if there is none.
  bool deliver_something();
  // An access to anything but shared memory, for the race checks.
  void access_global(const Fiber& fiber, const void* p, size_t bytes, Access kind, Site site) {
    if (launch_->global_race && !stacks_.contain(p))
      launch_->global_race->access(fiber, p, bytes, kind, site);
  }
  void count_collective() { ++counts_.collectives; }

  // Blocks the running thread until wake().
  void suspend(const Wait& wait);
  void wake(Fiber& fiber) { fiber.warp->runnable |= 1u << fiber.lane; }
  // Ends the launch with an error of the running thread where no exception can be thrown. The
  // thread is never resumed: what is on its stack must need no destructor.
  [[noreturn]] void stop(std::string error);
  // Lets others run: after a poll in vain, or at random.
  void yield(const char* operation, Site site);
  void maybe_yield(const char* operation, Site site);

 private:
  static void fiber_main();
  Fiber* pick_after_exit(Fiber& finished);
  void finish_running();
  void start_block(Block& block, uint32_t number);
  void start_warps(Block& block);
  void start_fiber(Block& block, int number);
  void finish_block(Block& block);
  // Ends finished blocks and starts new ones; false if none is left.
  bool refill();
  void enter_fibers(Fiber& first);
  void check_progress();
  void abandon();

  Fiber* pick(Warp* current);
  Warp* pick_warp();
  void change_a_priority();
  void switch_from(Fiber& from, Fiber& to, bool finished);
  void take_turn(const char* operation, Site site);

  LaunchState* launch_ = nullptr;
  Coroutine main_;
  Fiber* running_ = nullptr;
  std::vector<std::unique_ptr<Block>> blocks_;
  StackPool stacks_;
  Rng rng_;
  Schedule schedule_ = Schedule::pct;
  AsyncDelivery delivery_ = AsyncDelivery::late;
  uint64_t decisions_ = 0, next_change_ = 0;
  uint32_t delivery_period_ = 8;  // decisions between chances of delivery
  std::optional<std::string> error_;
  ExecutorCounts counts_;
  BankConflicts banks_;
};

// Who waits where, one line for each group of threads of a warp that wait alike.
std::string deadlock_report(std::span<const std::unique_ptr<Block>> blocks);

}  // namespace tessera::simt
