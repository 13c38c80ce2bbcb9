#include "kernels/launch/simt/mbarrier.h"

#include <algorithm>
#include <cstring>

#include "kernels/launch/simt/architecture.h"
#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

constexpr uint32_t kBytes = 8, kMostArrivals = (1 << 20) - 1;
constexpr int64_t kMostPendingBytes = (1 << 20) - 1;
constexpr int kMostPolls = 100000, kPollsPerDelivery = 16;

// What lies in shared memory for a barrier, so that stores over it are noticed.
uint64_t image_of(const Mbarrier& m) {
  return uint64_t{0x5a} << 56 | uint64_t(m.phase) << 48 | uint64_t(m.expected) << 28 |
         uint64_t(m.pending) << 8 | (uint64_t(m.bytes) & 0xff);
}

void write_image(Block& block, uint32_t address, const Mbarrier& m) {
  const uint64_t image = image_of(m);
  std::memcpy(block.shared.at(address), &image, sizeof(image));
}

// Whether the thread is ordered after the initialisation, as far as race checks tell.
bool knows(const Fiber& fiber, const Mbarrier& m) {
  return !fiber.block->race.on() || m.initialiser == &fiber ||
         fiber.clock[size_t(m.initialiser->number)] >= m.initialised;
}

Mbarrier& find(Fiber& fiber, const void* barrier, uint32_t& address, const char* operation,
               Site site) {
  Block& block = *fiber.block;
  address = block.shared.address_of(barrier, operation, site);
  const auto found = block.mbarriers.find(address);
  if (found == block.mbarriers.end()) {
    fail_at(site, "{}: no mbarrier has been initialised at shared address {:#x}", operation,
            address);
  }
  Mbarrier& m = found->second;
  uint64_t image;
  std::memcpy(&image, block.shared.at(address), sizeof(image));
  if (image != image_of(m)) {
    fail_at(site, "{}: the mbarrier of {} has been overwritten", operation, describe(m.site));
  }
  if (!knows(fiber, m)) {
    fail_at(site, "race: {} is not ordered after the initialisation of the mbarrier at {}",
            operation, describe(m.site));
  }
  return m;
}

void end_phase_if_complete(Block& block, uint32_t address, Mbarrier& m) {
  if (m.pending == 0 && m.bytes == 0) {
    m.phase ^= 1;
    m.pending = m.expected;
    ++m.completed;
    m.completed_clock = m.clock;
    for (Fiber* fiber : m.waiting) block.executor->wake(*fiber);
    m.waiting.clear();
  }
  write_image(block, address, m);
}

void check_parity(uint32_t parity, Site site) {
  if (parity > 1) fail_at(site, "mbarrier_wait: parity {} is neither 0 nor 1", parity);
}

}  // namespace

uint32_t address_for_tma(const void* barrier, const char* operation, Site site) {
  uint32_t address;
  const Mbarrier& m = find(current_fiber(operation, site), barrier, address, operation, site);
  if (!m.fenced) {
    fail_at(site, "{}: no fence_mbarrier_init since the initialisation of the mbarrier at {}",
            operation, describe(m.site));
  }
  return address;
}

void fence_mbarrier_init(Site site) {
  require_architecture(90, "fence_mbarrier_init", site);
  const Fiber& fiber = current_fiber("fence_mbarrier_init", site);
  for (auto& [address, m] : fiber.block->mbarriers) m.fenced |= m.initialiser == &fiber;
}

void fence_known_mbarriers(const Fiber& fiber) {
  for (auto& [address, m] : fiber.block->mbarriers) m.fenced |= knows(fiber, m);
}

void mbarrier_init(const void* barrier, uint32_t arrivals, Site site) {
  require_architecture(90, "mbarrier_init", site);
  Fiber& fiber = current_fiber("mbarrier_init", site);
  Block& block = *fiber.block;
  const uint32_t address = block.shared.address_of(barrier, "mbarrier_init", site);
  block.shared.check(address, kBytes, kBytes, "mbarrier_init", site);
  if (arrivals == 0 || arrivals > kMostArrivals) {
    fail_at(site, "mbarrier_init: {} arrivals, not 1..{}", arrivals, kMostArrivals);
  }
  Mbarrier& m = block.mbarriers[address];
  if (!m.waiting.empty()) fail_at(site, "mbarrier_init: threads wait for the mbarrier");
  m = {.expected = arrivals, .pending = arrivals, .site = site, .initialiser = &fiber};
  if (block.race.on()) {
    m.initialised = fiber.clock[size_t(fiber.number)];
    block.race.release(fiber, m.clock);
    m.completed_clock = m.clock;
  }
  write_image(block, address, m);
}

void mbarrier_arrive(const void* barrier, uint32_t bytes, Site site) {
  const char* name = bytes ? "mbarrier_arrive_expect_tx" : "mbarrier_arrive";
  Fiber& fiber = current_fiber(name, site);
  Block& block = *fiber.block;
  uint32_t address;
  Mbarrier& m = find(fiber, barrier, address, name, site);
  if (m.pending == 0) {
    fail_at(site, "{}: more than the {} arrivals in one phase that {} expects", name, m.expected,
            describe(m.site));
  }
  m.bytes += bytes;
  --m.pending;
  block.race.release(fiber, m.clock);
  end_phase_if_complete(block, address, m);
  block.executor->maybe_yield(name, site);
}

void complete_bytes(Block& block, const BulkCopy& copy) {
  Mbarrier& m = block.mbarriers[copy.mbarrier];
  m.bytes -= copy.map.box_bytes();
  if (m.bytes < -kMostPendingBytes) {
    fail_at(copy.site, "tma_load: the mbarrier of {} expects fewer bytes than arrive",
            describe(m.site));
  }
  if (block.race.on()) {
    join(m.clock, copy.seen);
    uint32_t& time = m.clock[copy.agent.id];
    time = std::max(time, copy.agent.time);
  }
  end_phase_if_complete(block, copy.mbarrier, m);
}

void mbarrier_wait(const void* barrier, uint32_t parity, Site site) {
  check_parity(parity, site);
  Fiber& fiber = current_fiber("mbarrier_wait", site);
  Executor& executor = *fiber.block->executor;
  for (;;) {
    uint32_t address;
    Mbarrier& m = find(fiber, barrier, address, "mbarrier_wait", site);
    if (m.phase != parity) {
      fiber.block->race.acquire(fiber, m.completed_clock);
      break;
    }
    m.waiting.push_back(&fiber);
    executor.suspend({.kind = WaitKind::mbarrier,
                      .operation = "mbarrier_wait",
                      .site = site,
                      .a = address,
                      .b = parity});
  }
  executor.maybe_yield("mbarrier_wait", site);
}

bool mbarrier_try_wait(const void* barrier, uint32_t parity, Site site) {
  check_parity(parity, site);
  Fiber& fiber = current_fiber("mbarrier_try_wait", site);
  uint32_t address;
  Mbarrier& m = find(fiber, barrier, address, "mbarrier_try_wait", site);
  if (m.phase != parity) {
    fiber.block->race.acquire(fiber, m.completed_clock);
    fiber.polls = 0;
    return true;
  }
  if (++fiber.polls > kMostPolls) {
    fail_at(site, "livelock: the mbarrier of {} was polled {} times for the end of phase parity {}",
            describe(m.site), kMostPolls, parity);
  }
  Executor& executor = *fiber.block->executor;
  if (fiber.polls % kPollsPerDelivery == 0) executor.deliver_something();
  executor.yield("mbarrier_try_wait", site);
  return false;
}

}  // namespace tessera::simt
