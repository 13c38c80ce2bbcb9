#include "kernels/launch/simt/block_end.h"

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

void check_registers(const Block& block) {
  for (const Warp& warp : block.warps) {
    const Warp& first = block.warps[size_t(warp.index / kGroupWarps * kGroupWarps)];
    if (warp.registers == first.registers) continue;
    fail_at(warp.registers_site.file ? warp.registers_site : first.registers_site,
            "set_max_registers: warps {} and {} of one warpgroup end with {} and {} registers",
            first.index, warp.index, first.registers, warp.registers);
  }
}

}  // namespace

void check_exit(const Fiber& fiber) {
  const Warp& warp = *fiber.warp;
  for (size_t i = 0; i < Warp::kMeetings; ++i) {
    const Meeting& meeting = warp.meetings[i];
    if (!(warp.open_meetings >> i & meeting.mask >> fiber.lane & 1)) continue;
    fail_at(meeting.site, "warp divergence: a lane exits while lanes {:#010x} wait for it in {}",
            meeting.arrived, meeting.operation);
  }
  if (!fiber.copies.empty()) {
    fail_at(fiber.copies[0].site, "cp.async: the thread exits without waiting for the copy");
  }
  if (!fiber.stores.empty()) {
    fail_at(fiber.stores[0]->site,
            "TMA: the thread exits without waiting for the store; needs tma_commit and tma_wait");
  }
}

void end_block(Block& block) {
  for (const auto& copy : block.in_flight) {
    if (!copy->done) fail_at(copy->site, "tma_load: the block exits without waiting for the copy");
  }
  block.in_flight.clear();
  for (const auto& [address, barrier] : block.mbarriers) {
    if (barrier.bytes == 0) continue;
    fail_at(barrier.site, "mbarrier at {:#x}: the block exits with a pending count of {} bytes",
            address, barrier.bytes);
  }
  for (int id = 0; id < Block::kBarriers; ++id) {
    const NamedBarrier& barrier = block.barriers[size_t(id)];
    if (barrier.arrived == 0) continue;
    fail_at(barrier.site, "barrier {}: the block exits with {} of {} threads arrived", id,
            barrier.arrived, barrier.threads);
  }
  for (const Warpgroup& group : block.warpgroups) check_end(group);
  check_registers(block);
  block.shared.check_gaps();
}

}  // namespace tessera::simt
