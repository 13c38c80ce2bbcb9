// setmaxnreg: warps of a block trade registers.
#include "kernels/launch/simt/architecture.h"
#include "kernels/launch/simt/collective.h"
#include "kernels/launch/simt/executor.h"
#include "kernels/launch/simt/wgmma.h"

namespace tessera::simt {
namespace {

constexpr int kLeast = 24, kMost = 256, kStep = 8;

void change(int registers, const char* name, Site site) {
  Fiber& fiber = *static_cast<Fiber*>(current_thread);
  Warp& warp = *fiber.warp;
  Block& block = *fiber.block;
  const int more = (registers - warp.registers) * kLanes;
  while (more > block.free_registers) {
    block.executor->suspend(
        {.kind = WaitKind::registers, .operation = name, .site = site, .a = uint64_t(registers)});
  }
  block.free_registers -= more;
  warp.registers = registers;
  warp.registers_site = site;
  if (more >= 0) return;
  for (Fiber& other : block.fibers) {
    if (other.wait.kind == WaitKind::registers) block.executor->wake(other);
  }
}

}  // namespace

void set_max_registers(int registers, bool increase, Site site) {
  const char* name = increase ? "set_max_registers_inc" : "set_max_registers_dec";
  require_architecture(90, name, site);
  const Warp& warp = *current_fiber(name, site).warp;
  if (registers % kStep || registers < kLeast || registers > kMost) {
    fail_at(site, "{}: {} registers are no multiple of {} in {}..{}", name, registers, kStep,
            kLeast, kMost);
  }
  if (increase ? registers < warp.registers : registers > warp.registers) {
    fail_at(site, "{}: from {} registers to {}", name, warp.registers, registers);
  }
  char nothing = 0;
  collective({.name = name}, nothing, site, [=](auto) { change(registers, name, site); });
}

}  // namespace tessera::simt
