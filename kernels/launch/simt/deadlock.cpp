#include <map>

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

std::string details(const Fiber& fiber) {
  const Block& block = *fiber.block;
  const Wait& wait = fiber.wait;
  switch (wait.kind) {
    case WaitKind::collective: {
      uint32_t arrived = 0;
      for (size_t i = 0; i < Warp::kMeetings; ++i) {
        const Meeting& meeting = fiber.warp->meetings[i];
        const uint32_t open = fiber.warp->open_meetings >> i & 1;
        if (open & meeting.arrived >> fiber.lane) arrived = meeting.arrived;
      }
      return fmt::format("lanes {:#010x} of {:#010x} have arrived", arrived, wait.b);
    }
    case WaitKind::barrier: {
      const NamedBarrier& barrier = block.barriers[wait.a];
      return fmt::format("barrier {}: {} of {} threads have arrived", wait.a, barrier.arrived,
                         barrier.threads);
    }
    case WaitKind::mbarrier: {
      const auto found = block.mbarriers.find(uint32_t(wait.a));
      if (found == block.mbarriers.end()) return "no mbarrier";
      const Mbarrier& m = found->second;
      return fmt::format(
          "mbarrier {:#x} of {}: waits for the end of phase parity {}; phase parity {} after {} "
          "phases, {} of {} arrivals and {} bytes pending",
          wait.a, describe(m.site), wait.b, m.phase, m.completed, m.pending, m.expected, m.bytes);
    }
    case WaitKind::registers:
      return fmt::format("wants {} registers a thread, {} of the block are free", wait.a,
                         block.free_registers);
    default:
      return "";
  }
}

}  // namespace

std::string deadlock_report(std::span<const std::unique_ptr<Block>> blocks) {
  std::map<std::string, int> lines;
  for (const auto& block : blocks) {
    if (!block->active) continue;
    int exited = 0;
    for (const Fiber& fiber : block->fibers) {
      exited += fiber.finished;
      if (fiber.finished) continue;
      const std::string more = details(fiber);
      ++lines[fmt::format("block ({}, {}, {}) warp {:2}: {} at {}{}{}", block->index.x,
                          block->index.y, block->index.z, fiber.warp_index, fiber.wait.operation,
                          describe(fiber.wait.site), more.empty() ? "" : ": ", more)];
    }
    if (exited > 0) {
      lines[fmt::format("block ({}, {}, {}): exited", block->index.x, block->index.y,
                        block->index.z)] = exited;
    }
  }
  std::string report = "deadlock: every thread waits";
  for (const auto& [line, threads] : lines) {
    report += fmt::format("\n  {} [{} thread{}]", line, threads, threads == 1 ? "" : "s");
  }
  return report;
}

}  // namespace tessera::simt
