#include "kernels/launch/simt/barrier.h"

#include <algorithm>
#include <utility>

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

void open_phase(NamedBarrier& barrier, int threads, const Block& block, Site site) {
  barrier.threads = threads;
  barrier.site = site;
  barrier.who.assign(size_t(block.threads), 0);
  barrier.clock.clear();
}

void check_arrival(const char* name, int id, int threads, const Fiber& fiber, Site site) {
  const Block& block = *fiber.block;
  if (id < 0 || id >= Block::kBarriers) {
    fail_at(site, "{}: barrier {} does not exist; there are {}", name, id, Block::kBarriers);
  }
  const NamedBarrier& barrier = block.barriers[size_t(id)];
  if (threads <= 0 || threads > block.threads || (threads % kLanes && threads != block.threads)) {
    fail_at(site, "{}({}): {} threads are no whole warps of a block of {}", name, id, threads,
            block.threads);
  }
  if (barrier.arrived > 0 && barrier.threads != threads) {
    fail_at(site, "{}({}): {} threads here, {} at {}", name, id, threads, barrier.threads,
            describe(barrier.site));
  }
  if (barrier.arrived > 0 && barrier.who[size_t(fiber.number)]) {
    fail_at(site, "{}({}): the thread arrives twice in one phase", name, id);
  }
}

void check_whole_warps(const char* name, int id, const NamedBarrier& barrier, const Block& block,
                       Site site) {
  for (int first = 0; first < block.threads; first += kLanes) {
    const int end = std::min(first + kLanes, block.threads);
    const auto lanes = std::count(barrier.who.begin() + first, barrier.who.begin() + end, 1);
    if (lanes != 0 && lanes != end - first) {
      fail_at(site, "{}({}): only {} lanes of warp {} take part", name, id, lanes, first / kLanes);
    }
  }
}

void arrive(const char* name, int id, int threads, bool wait, Site site) {
  Fiber& fiber = current_fiber(name, site);
  Block& block = *fiber.block;
  Executor& executor = *block.executor;
  check_arrival(name, id, threads, fiber, site);
  NamedBarrier& barrier = block.barriers[size_t(id)];
  if (barrier.arrived == 0) open_phase(barrier, threads, block, site);
  barrier.who[size_t(fiber.number)] = 1;
  ++barrier.arrived;
  block.race.release(fiber, barrier.clock);
  if (barrier.arrived < barrier.threads) {
    if (!wait) return executor.maybe_yield(name, site);
    barrier.waiting.push_back(&fiber);
    return executor.suspend(
        {.kind = WaitKind::barrier, .operation = name, .site = site, .a = uint64_t(id)});
  }
  check_whole_warps(name, id, barrier, block, site);
  barrier.arrived = 0;
  for (Fiber* other : barrier.waiting) {
    block.race.acquire(*other, barrier.clock);
    executor.wake(*other);
  }
  barrier.waiting.clear();
  if (wait) block.race.acquire(fiber, barrier.clock);
  executor.maybe_yield(name, site);
}

}  // namespace

void sync_block(Site site) {
  arrive("sync_block", 0, current_fiber("sync_block", site).block->threads, true, site);
}

void barrier_sync(int id, int threads, Site site) {
  arrive("barrier_sync", id, threads, true, site);
}

void barrier_arrive(int id, int threads, Site site) {
  arrive("barrier_arrive", id, threads, false, site);
}

}  // namespace tessera::simt
