#include "kernels/launch/simt/executor.h"

#include <algorithm>
#include <utility>

#include "kernels/launch/simt/async_copy.h"
#include "kernels/launch/simt/block_end.h"

namespace tessera::simt {

constinit thread_local ThreadView* current_thread = nullptr;

namespace {

constexpr int kRegistersOfBlock = 65536, kMostRegisters = 255;

uint64_t mix(uint64_t a, uint64_t b) {
  return (a + 1) * 0x9e3779b97f4a7c15u ^ (b + 1);
}

}  // namespace

Fiber& current_fiber(const char* operation, Site site) {
  if (!current_thread) fail_at(site, "{}: called outside of a kernel", operation);
  return *static_cast<Fiber*>(current_thread);
}

Executor::Executor() = default;

void Executor::run(LaunchState& launch) {
  launch_ = &launch;
  error_.reset();
  describe_own_stack(main_);
  try {
    while (refill()) {
      if (Fiber* next = pick(nullptr)) {
        enter_fibers(*next);
        if (error_) throw Error(*error_);
      } else {
        check_progress();
      }
    }
  } catch (...) {
    launch.stop = true;
    abandon();
    throw;
  }
  abandon();
}

void Executor::enter_fibers(Fiber& first) {
  running_ = &first;
  current_thread = &first;
  ++counts_.switches;
  switch_to(main_, first.coroutine);
  running_ = nullptr;
  current_thread = nullptr;
}

void Executor::check_progress() {
  if (std::ranges::any_of(blocks_, [](auto& b) { return b->active && b->live == 0; })) return;
  fail("{}", deadlock_report(blocks_));
}

// After an error the fibers of running blocks are never resumed: what they hold on their stacks
// must need no destructor.
void Executor::abandon() {
  for (const auto& block : blocks_) {
    block->active = false;
    block->in_flight.clear();
  }
}

bool Executor::refill() {
  const size_t resident = size_t(launch_->options->resident);
  while (blocks_.size() < resident) blocks_.push_back(std::make_unique<Block>());
  bool any = false;
  for (const auto& block : blocks_) {
    if (block->active && block->live == 0) finish_block(*block);
    if (!block->active && !launch_->stop) {
      const size_t next = launch_->next.fetch_add(1);
      if (next < launch_->order.size()) start_block(*block, launch_->order[next]);
    }
    any |= block->active;
  }
  return any && !launch_->stop;
}

void Executor::start_block(Block& block, uint32_t number) {
  const gpu::Grid& grid = launch_->grid;
  if (std::ranges::none_of(blocks_, [](auto& b) { return b->active; })) {
    // Each block has its own random numbers, so that it runs alike for any number of workers.
    rng_ = Rng(mix(launch_->seed, number));
    const uint32_t draw = rng_();
    const Options& o = *launch_->options;
    schedule_ = o.schedule == Schedule::by_seed ? Schedule(draw % 3) : o.schedule;
    delivery_ = o.async == AsyncDelivery::by_seed ? AsyncDelivery((draw >> 8) % 3) : o.async;
    delivery_period_ = 4u << ((draw >> 16) & 3);
    decisions_ = next_change_ = 0;
  }
  block.executor = this;
  block.active = true;
  block.threads = block.live = grid.threads;
  block.number = number;
  block.index = {number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
  block.in_flight.clear();
  block.mbarriers.clear();
  for (NamedBarrier& barrier : block.barriers) barrier = NamedBarrier();
  const int warpgroups = (grid.threads + kGroupThreads - 1) / kGroupThreads;
  block.warpgroups.assign(size_t(warpgroups), Warpgroup());
  for (int i = 0; i < warpgroups; ++i) block.warpgroups[size_t(i)].index = i;
  block.free_registers = 0;
  block.race.begin(block, launch_->race);
  block.shared.begin(uint32_t(grid.shared_bytes), uint32_t(launch_->options->shared_limit));
  start_warps(block);
  ++counts_.blocks;
}

void Executor::start_warps(Block& block) {
  const int threads = block.threads, warps = (threads + kLanes - 1) / kLanes;
  const int registers = std::min(kMostRegisters, kRegistersOfBlock / threads / 8 * 8);
  block.warps.assign(size_t(warps), Warp());
  for (int w = 0; w < warps; ++w) {
    Warp& warp = block.warps[size_t(w)];
    const int lanes = std::min(kLanes, threads - w * kLanes);
    warp.block = &block;
    warp.index = w;
    warp.runnable = warp.live = kAllLanes >> (kLanes - lanes);
    warp.priority = schedule_ == Schedule::round_robin ? uint32_t(w) : rng_();
    warp.registers = registers;
  }
  while (block.fibers.size() > size_t(threads)) {
    stacks_.give_back(block.fibers.back().stack);
    block.fibers.pop_back();
  }
  while (block.fibers.size() < size_t(threads)) {
    block.fibers.emplace_back().stack = stacks_.take();
  }
  for (int t = 0; t < threads; ++t) start_fiber(block, t);
}

void Executor::start_fiber(Block& block, int number) {
  Fiber& fiber = block.fibers[size_t(number)];
  const gpu::Grid& grid = launch_->grid;
  fiber.thread_index = {unsigned(number), 0, 0};
  fiber.block_index = block.index;
  fiber.block_size = {unsigned(grid.threads), 1, 1};
  fiber.grid_size = {grid.x, grid.y, grid.z};
  fiber.architecture = launch_->options->architecture;
  fiber.lane = number % kLanes;
  fiber.warp_index = number / kLanes;
  fiber.shared = block.shared.base();
  fiber.block = &block;
  fiber.warp = &block.warps[size_t(fiber.warp_index)];
  fiber.number = number;
  fiber.finished = false;
  fiber.wait = Wait();
  fiber.polls = 0;
  fiber.copies.clear();
  fiber.stores.clear();
  fiber.copy_group = fiber.store_group = 0;
  if (block.race.on()) {
    fiber.clock.assign(size_t(block.race.agents()), 0);
    fiber.clock[size_t(number)] = 1;
    fiber.fence_clock.clear();
    fiber.fence_time = 0;
  }
  prepare(fiber.coroutine, fiber.stack, &Executor::fiber_main);
}

void Executor::finish_block(Block& block) {
  block.active = false;
  end_block(block);
  banks_.end_block(&block);
}

void Executor::fiber_main() {
  enter();
  Executor& executor = *static_cast<Fiber*>(current_thread)->block->executor;
  try {
    executor.launch_->kernel.run(executor.launch_->kernel.arguments);
    check_exit(executor.running());
  } catch (const std::exception& e) {
    if (!executor.error_) executor.error_ = e.what();
  }
  executor.finish_running();
  std::abort();  // a finished fiber is never resumed
}

void Executor::stop(std::string error) {
  error_ = std::move(error);
  Fiber& fiber = *running_;
  switch_to(fiber.coroutine, main_);
  std::abort();
}

void Executor::finish_running() {
  Fiber& fiber = *running_;
  const uint32_t lane = 1u << fiber.lane;
  fiber.finished = true;
  fiber.warp->runnable &= ~lane;
  fiber.warp->live &= ~lane;
  --fiber.block->live;
  if (Fiber* next = pick_after_exit(fiber)) {
    switch_from(fiber, *next, true);
  } else {
    switch_to(fiber.coroutine, main_, true);
  }
}

// nullptr: back to run().
Fiber* Executor::pick_after_exit(Fiber& finished) {
  if (error_ || finished.block->live == 0) return nullptr;
  try {
    return pick(finished.warp);
  } catch (const std::exception& e) {  // of a copy that arrives
    error_ = e.what();
    return nullptr;
  }
}

}  // namespace tessera::simt
