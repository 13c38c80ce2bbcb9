#include "kernels/launch/simt/block_end.h"

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {

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
}

void end_block(Block& block) {
  for (const auto& copy : block.in_flight) deliver(block, *copy);
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
  block.shared.check_gaps();
}

}  // namespace tessera::simt
