// The executor's decisions: which fiber runs, and when asynchronous copies arrive.
#include <algorithm>
#include <bit>

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

constexpr uint32_t kLongestStretch = 4096;  // decisions between changes of a priority

Fiber& next_lane(Warp& warp) {
  const uint32_t first = warp.rotation % kLanes;
  const uint32_t lane = (uint32_t(std::countr_zero(std::rotr(warp.runnable, int(first)))) + first);
  return warp.block->fibers[size_t(warp.index) * kLanes + lane % kLanes];
}

}  // namespace

bool Executor::delivers_now() {
  return delivery_ == AsyncDelivery::eager ||
         (delivery_ == AsyncDelivery::random && rng_.one_in(2));
}

void Executor::change_a_priority() {
  next_change_ = decisions_ + 32 + rng_.below(kLongestStretch);
  for (const auto& block : blocks_) {
    if (block->active) block->warps[rng_.below(uint32_t(block->warps.size()))].priority = rng_();
  }
}

Warp* Executor::pick_warp() {
  if (schedule_ == Schedule::pct && decisions_ >= next_change_) change_a_priority();
  Warp* best = nullptr;
  uint32_t candidates = 0;
  for (const auto& block : blocks_) {
    if (!block->active) continue;
    for (Warp& warp : block->warps) {
      if (!warp.runnable) continue;
      bool better = !best;
      switch (schedule_) {
        case Schedule::pct:
          better = better || warp.priority > best->priority;
          break;
        case Schedule::round_robin:  // the priority is the time of the last turn
          better = better || warp.priority < best->priority;
          break;
        default:
          better = rng_.one_in(++candidates);
      }
      if (better) best = &warp;
    }
  }
  return best;
}

bool Executor::deliver_something() {
  for (const auto& block : blocks_) {
    auto& copies = block->in_flight;
    if (!block->active || copies.empty()) continue;
    const size_t i = rng_.below(uint32_t(copies.size()));
    const std::shared_ptr<BulkCopy> copy = copies[i];
    copies[i] = copies.back();
    copies.pop_back();
    deliver(*block, *copy);
    return true;
  }
  return false;
}

// A warp goes on most of the time while it can: switches between its lanes are what they would do
// in step.
Fiber* Executor::pick(Warp* current) {
  ++decisions_;
  if (delivery_ == AsyncDelivery::random && decisions_ % delivery_period_ == 0 && rng_.one_in(2)) {
    deliver_something();
  }
  if (current && current->runnable && !rng_.one_in(16)) return &next_lane(*current);
  for (;;) {
    if (Warp* warp = pick_warp()) {
      if (schedule_ == Schedule::round_robin) {
        warp->priority = uint32_t(decisions_) + kLanes;
        warp->rotation = 0;
      } else {
        warp->rotation = rng_();
      }
      return &next_lane(*warp);
    }
    if (!deliver_something()) return nullptr;
  }
}

void Executor::switch_from(Fiber& from, Fiber& to, bool finished) {
  if (&from == &to) return;
  ++counts_.switches;
  running_ = &to;
  current_thread = &to;
  switch_to(from.coroutine, to.coroutine, finished);
}

void Executor::suspend(const Wait& wait) {
  Fiber& fiber = *running_;
  fiber.wait = wait;
  fiber.warp->runnable &= ~(1u << fiber.lane);
  if (Fiber* next = pick(fiber.warp)) {
    switch_from(fiber, *next, false);
  } else {
    switch_to(fiber.coroutine, main_);
  }
  fiber.wait.kind = WaitKind::none;
}

void Executor::take_turn(const char* operation, Site site) {
  Fiber& fiber = *running_;
  fiber.wait = {.kind = WaitKind::turn, .operation = operation, .site = site};
  if (Fiber* next = pick(nullptr)) switch_from(fiber, *next, false);
  fiber.wait.kind = WaitKind::none;
}

// By another priority a warp that polls does not keep those from running that it waits for.
void Executor::yield(const char* operation, Site site) {
  if (schedule_ == Schedule::pct) running_->warp->priority = rng_();
  take_turn(operation, site);
}

void Executor::maybe_yield(const char* operation, Site site) {
  if (schedule_ != Schedule::round_robin && rng_.one_in(8)) take_turn(operation, site);
}

}  // namespace tessera::simt
