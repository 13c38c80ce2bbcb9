#include "kernels/launch/simt/collective.h"

#include <bit>
#include <cstring>

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

bool same_operation(const char* a, const char* b) {
  return a == b || std::strcmp(a, b) == 0;
}

// The meeting that has lanes of `mask`, else a free one.
size_t meeting_of(const Warp& warp, uint32_t mask) {
  for (uint32_t open = warp.open_meetings; open; open &= open - 1) {
    const auto i = size_t(std::countr_zero(open));
    if (warp.meetings[i].mask & mask) return i;
  }
  return size_t(std::countr_one(warp.open_meetings));
}

void check_caller(const CollectiveKind& kind, const Fiber& fiber, Site site) {
  if (!(kind.mask >> fiber.lane & 1)) {
    fail_at(site, "{}: the mask {:#010x} does not include the calling lane", kind.name, kind.mask);
  }
  if (kind.mask & ~fiber.warp->live) {
    fail_at(site,
            "{}: the mask {:#010x} names lanes that have exited or never were (live: {:#010x})",
            kind.name, kind.mask, fiber.warp->live);
  }
}

void check_meeting(const Meeting& meeting, const CollectiveKind& kind, Site site) {
  if (!same_operation(meeting.operation, kind.name)) {
    fail_at(site, "warp divergence: the lane executes {} while lanes {:#010x} wait in {} at {}",
            kind.name, meeting.arrived, meeting.operation, describe(meeting.site));
  }
  if (meeting.mask != kind.mask) {
    fail_at(site, "{}: the mask is {:#010x} here and {:#010x} at {}", kind.name, kind.mask,
            meeting.mask, describe(meeting.site));
  }
  if (!kind.any_place && meeting.site.line != site.line) {
    fail_at(site, "warp divergence: {} is executed here and at {}", kind.name,
            describe(meeting.site));
  }
}

void join_clocks(const Meeting& meeting, Warp& warp) {
  RaceDetector& race = warp.block->race;
  if (!race.on()) return;
  VectorClock all;
  Fiber* lanes = &warp.block->fibers[size_t(warp.index) * kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    if (meeting.mask >> lane & 1) race.release(lanes[lane], all);
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    if (meeting.mask >> lane & 1) race.acquire(lanes[lane], all);
  }
}

}  // namespace

std::array<void*, kLanes>* meet(const CollectiveKind& kind, void* argument, Site site) {
  Fiber& fiber = current_fiber(kind.name, site);
  Warp& warp = *fiber.warp;
  Executor& executor = *fiber.block->executor;
  executor.count_collective();
  check_caller(kind, fiber, site);
  const size_t number = meeting_of(warp, kind.mask);
  Meeting& meeting = warp.meetings[number];
  if (!(warp.open_meetings >> number & 1)) {
    warp.open_meetings |= 1u << number;
    meeting.operation = kind.name;
    meeting.site = site;
    meeting.mask = kind.mask;
    meeting.arrived = 0;
    meeting.arguments.fill(nullptr);
  } else {
    check_meeting(meeting, kind, site);
  }
  meeting.arguments[size_t(fiber.lane)] = argument;
  meeting.arrived |= 1u << fiber.lane;
  if (meeting.arrived == meeting.mask) {
    warp.executing = number;
    return &meeting.arguments;
  }
  executor.suspend({.kind = WaitKind::collective,
                    .operation = kind.name,
                    .site = site,
                    .a = meeting.arrived,
                    .b = kind.mask});
  return nullptr;
}

void leave(const CollectiveKind& kind) {
  Fiber& fiber = *static_cast<Fiber*>(current_thread);
  Warp& warp = *fiber.warp;
  Meeting& meeting = warp.meetings[warp.executing];
  if (kind.orders_memory) join_clocks(meeting, warp);
  warp.runnable |= meeting.mask;
  warp.open_meetings &= ~(1u << warp.executing);
  warp.rotation = fiber.block->executor->rng()();
}

void sync_warp(uint32_t mask, Site site) {
  char nothing = 0;
  collective({.name = "sync_warp", .mask = mask, .any_place = true, .orders_memory = true}, nothing,
             site, [](auto) {});
}

}  // namespace tessera::simt
