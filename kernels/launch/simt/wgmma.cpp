#include "kernels/launch/simt/wgmma.h"

#include <algorithm>
#include <limits>

#include "kernels/launch/simt/architecture.h"
#include "kernels/launch/simt/collective.h"
#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

constexpr int kMostColumns = 256;

struct Issuer {
  Fiber& fiber;
  Warp& warp;
  Block& block;
  Warpgroup& group;
  size_t slot;  // of the warp in its warpgroup

  explicit Issuer(Fiber& f)
      : fiber(f),
        warp(*f.warp),
        block(*f.block),
        group(block.warpgroups[size_t(warp.index / kGroupWarps)]),
        slot(size_t(warp.index % kGroupWarps)) {}
  Fiber& lane(int l) const { return block.fibers[size_t(warp.index * kLanes + l)]; }
  size_t thread(int l) const { return slot * kLanes + size_t(l); }
};

// Register i of lane l of a warp of D: row 16 slot + l / 4 + 8 ((i / 2) % 2), column
// 8 (i / 4) + 2 (l % 4) + i % 2.
float& value_of(Accumulator& d, size_t slot, int lane, int i) {
  const size_t row = slot * 16 + size_t(lane / 4) + 8 * size_t(i / 2 % 2);
  return d.values[row * size_t(d.n) + size_t(8 * (i / 4) + 2 * (lane % 4) + i % 2)];
}

bool same_operands(const WgmmaArguments& x, const WgmmaArguments& y) {
  return x.n == y.n && x.k == y.k && x.b_descriptor == y.b_descriptor &&
         (x.a != nullptr) == (y.a != nullptr) && (x.a || x.a_descriptor == y.a_descriptor) &&
         x.accumulate == y.accumulate && x.a_mn_major == y.a_mn_major &&
         x.b_mn_major == y.b_mn_major;
}

template <class Table>
void check_issue(const Table& table, const Warp& warp, Site site) {
  const WgmmaArguments& first = *table(0);
  for (int lane = 1; lane < kLanes; ++lane) {
    if (!same_operands(first, *table(lane))) {
      fail_at(site, "wgmma: the operands of lanes 0 and {} differ", lane);
    }
  }
  if (first.n % 8 || first.n < 8 || first.n > kMostColumns) {
    fail_at(site, "wgmma: n = {} is no multiple of 8 in 8..{}", first.n, kMostColumns);
  }
  if (!warp.wgmma.fenced) {
    fail_at(site, "wgmma: no wgmma_fence since the registers were last used");
  }
}

// The accumulator that is in flight in the same registers, or a new one.
std::shared_ptr<Accumulator> accumulator_of(Issuer& issuer, const WgmmaArguments& arguments) {
  for (const auto& d : issuer.group.accumulators) {
    const bool in_flight = d->taken[issuer.slot] && !d->delivered[issuer.slot];
    if (in_flight && d->registers[issuer.thread(0)] == arguments.d) return d;
  }
  auto d = std::make_shared<Accumulator>();
  d->n = arguments.n;
  d->values.resize(size_t(kGroupThreads / 2 * arguments.n));
  issuer.group.accumulators.push_back(d);
  return d;
}

WgmmaOperation& operation_of(Issuer& issuer, const WgmmaArguments& arguments, Site site) {
  const uint64_t number = issuer.warp.wgmma.issued++;
  while (issuer.group.end() <= number) issuer.group.operations.emplace_back();
  WgmmaOperation& operation = issuer.group.operation(number);
  if (!operation.accumulator) {
    operation.arguments = arguments;
    operation.site = site;
    operation.accumulator = accumulator_of(issuer, arguments);
  } else if (!same_operands(operation.arguments, arguments)) {
    fail_at(site, "wgmma: the operands differ from those of another warp of the warpgroup at {}",
            describe(operation.site));
  }
  return operation;
}

// Takes the warp's registers of D: until wgmma_wait they hold NaN.
template <class Table>
void take_registers(Issuer& issuer, Accumulator& d, const Table& table, Site site) {
  if (d.n != table(0)->n) fail_at(site, "wgmma: another n for registers that are in flight");
  const bool taken = d.taken[issuer.slot];
  d.taken[issuer.slot] = true;
  for (int lane = 0; lane < kLanes; ++lane) {
    float* registers = table(lane)->d;
    float*& known = d.registers[issuer.thread(lane)];
    if (taken && known != registers) {
      fail_at(site, "wgmma: the registers of D overlap those of an operation in flight");
    }
    known = registers;
    for (int i = 0; !taken && i < d.n / 2; ++i) {
      value_of(d, issuer.slot, lane, i) = registers[i];
      registers[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
}

// Carries out operations before number `end`; false if one of them is not issued by all warps.
bool execute_until(Block& block, Warpgroup& group, uint64_t end) {
  for (; group.executed < end; ++group.executed) {
    if (group.executed >= group.end()) return false;
    WgmmaOperation& operation = group.operation(group.executed);
    if (!operation.is_complete()) return false;
    multiply(block, operation);
  }
  return true;
}

void note_order(const Issuer& issuer, WgmmaOperation& operation) {
  const RaceDetector& race = issuer.block.race;
  if (!race.on()) return;
  VectorClock &seen = operation.seen[issuer.slot], &fenced = operation.fenced[issuer.slot];
  seen.assign(size_t(race.agents()), 0);
  fenced = seen;
  for (int l = 0; l < kLanes; ++l) {
    Fiber& lane = issuer.lane(l);
    join(seen, lane.clock);
    join(fenced, lane.fence_clock);
    ++lane.clock[size_t(lane.number)];
  }
}

template <class Table>
void issue(const Table& table, Site site) {
  Issuer issuer(*static_cast<Fiber*>(current_thread));
  check_issue(table, issuer.warp, site);
  WgmmaOperation& operation = operation_of(issuer, *table(0), site);
  take_registers(issuer, *operation.accumulator, table, site);
  for (int lane = 0; table(0)->a && lane < kLanes; ++lane) {
    const uint32_t* a = operation.a_registers[issuer.thread(lane)] = table(lane)->a;
    std::copy_n(a, 4, operation.a[issuer.thread(lane)].begin());
  }
  note_order(issuer, operation);
  operation.issued[issuer.slot] = true;
  operation.group[issuer.slot] = issuer.warp.wgmma.group;
  if (!operation.is_complete()) return;
  check_operands(issuer.block, issuer.group, operation);
  Executor& executor = *issuer.block.executor;
  if (executor.delivers_now()) execute_until(issuer.block, issuer.group, issuer.warp.wgmma.issued);
  for (Fiber& fiber : issuer.block.fibers) {
    const bool same_group = fiber.warp_index / kGroupWarps == issuer.group.index;
    if (fiber.wait.kind == WaitKind::wgmma && same_group) executor.wake(fiber);
  }
}

// The end of the operations that a wait which leaves `pending` groups must wait for.
uint64_t end_of_wait(const Issuer& issuer, int pending) {
  Warpgroup& group = issuer.group;
  uint64_t end = issuer.warp.wgmma.issued;
  while (end > group.first && group.operation(end - 1).group[issuer.slot] + uint64_t(pending) >=
                                  issuer.warp.wgmma.group) {
    --end;
  }
  return end;
}

// Whether an operation that the warp has not waited for still works on `d`.
bool is_busy(const Issuer& issuer, const std::shared_ptr<Accumulator>& d, uint64_t end) {
  for (uint64_t n = issuer.group.first; n < issuer.group.end(); ++n) {
    const WgmmaOperation& operation = issuer.group.operation(n);
    if (operation.accumulator != d) continue;
    if (!operation.done || (operation.issued[issuer.slot] && n >= end)) return true;
  }
  return false;
}

void give_registers(const Issuer& issuer, Accumulator& d) {
  d.delivered[issuer.slot] = true;
  for (int lane = 0; lane < kLanes; ++lane) {
    float* registers = d.registers[issuer.thread(lane)];
    for (int i = 0; i < d.n / 2; ++i) registers[i] = value_of(d, issuer.slot, lane, i);
  }
}

void acquire_reads(const Issuer& issuer, uint64_t end) {
  const RaceDetector& race = issuer.block.race;
  if (!race.on()) return;
  for (uint64_t n = issuer.group.first; n < end; ++n) {
    const uint64_t number = issuer.group.operation(n).group[0];
    const uint16_t agent = race.wgmma_agent(issuer.group.index, number);
    for (int lane = 0; lane < kLanes; ++lane) {
      uint32_t& seen = issuer.lane(lane).clock[agent];
      seen = std::max(seen, uint32_t(number) + 1);
    }
  }
}

// Forgets what all warps have waited for.
void retire(const Issuer& issuer) {
  Warpgroup& group = issuer.group;
  std::erase_if(group.accumulators, [](const auto& d) {
    return std::ranges::all_of(d->delivered, [](bool done) { return done; });
  });
  uint64_t waited = group.executed;
  const size_t first = size_t(group.index * kGroupWarps);
  for (size_t w = first; w < first + kGroupWarps; ++w) {
    waited = std::min(waited, issuer.block.warps[w].wgmma.waited);
  }
  for (; group.first < waited; ++group.first) group.operations.pop_front();
}

void wait(int pending, Site site) {
  const Issuer issuer(*static_cast<Fiber*>(current_thread));
  const uint64_t end = end_of_wait(issuer, pending);
  while (!execute_until(issuer.block, issuer.group, end)) {
    issuer.block.executor->suspend({.kind = WaitKind::wgmma,
                                    .operation = "wgmma_wait (for other warps to issue)",
                                    .site = site});
  }
  for (const auto& d : issuer.group.accumulators) {
    const bool in_flight = d->taken[issuer.slot] && !d->delivered[issuer.slot];
    if (in_flight && !is_busy(issuer, d, end)) give_registers(issuer, *d);
  }
  acquire_reads(issuer, end);
  issuer.warp.wgmma.waited = end;
  issuer.warp.wgmma.fenced = false;
  retire(issuer);
}

void collective_state(const char* name, Site site, void (*change)(WarpWgmma&)) {
  require_architecture(90, name, site);
  char nothing = 0;
  collective({.name = name}, nothing, site,
             [change](auto) { change(static_cast<Fiber*>(current_thread)->warp->wgmma); });
}

}  // namespace

void wgmma_fence(Site site) {
  collective_state("wgmma_fence", site, [](WarpWgmma& w) { w.fenced = true; });
}

void wgmma_commit(Site site) {
  collective_state("wgmma_commit", site, [](WarpWgmma& w) { ++w.group; });
}

void wgmma(const WgmmaArguments& arguments, Site site) {
  const char* name = arguments.a ? "wgmma_rs" : "wgmma_ss";
  require_architecture(90, name, site);
  const Block& block = *current_fiber(name, site).block;
  if (block.threads % kGroupThreads) {
    fail_at(site, "{}: a block of {} threads has an incomplete warpgroup", name, block.threads);
  }
  WgmmaArguments mine = arguments;
  collective({.name = name}, mine, site, [site](auto table) { issue(table, site); });
}

void wgmma_wait(int pending, Site site) {
  require_architecture(90, "wgmma_wait", site);
  char nothing = 0;
  collective({.name = "wgmma_wait"}, nothing, site, [=](auto) { wait(pending, site); });
  current_fiber("wgmma_wait", site).block->executor->maybe_yield("wgmma_wait", site);
}

void check_end(const Warpgroup& group) {
  if (group.accumulators.empty()) return;
  for (const WgmmaOperation& operation : group.operations) {
    if (operation.accumulator) fail_at(operation.site, "wgmma: its result is never waited for");
  }
}

}  // namespace tessera::simt
