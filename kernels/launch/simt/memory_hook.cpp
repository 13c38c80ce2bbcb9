#include "kernels/launch/simt/memory_hook.h"

#include <bit>
#include <string>
#include <utility>

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

// Also of host memory that tests give to kernels.
void check_global_access(Fiber& fiber, const void* p, size_t bytes, bool writes, Site site) {
  fiber.block->executor->access_global(fiber, p, bytes, writes ? Access::write : Access::read,
                                       site);
}

void check_shared_access(Fiber& fiber, uint32_t address, uint32_t bytes, uint32_t align,
                         bool writes, Site site) {
  Block& block = *fiber.block;
  const char* name = writes ? "store" : "load";
  block.shared.check(address, bytes, align, name, site);
  block.race.thread_access(fiber, address, bytes, writes ? Access::write : Access::read, site);
  Executor& executor = *block.executor;
  if (executor.options().bank && std::has_single_bit(bytes) && bytes <= 16) {
    executor.bank_conflicts().add_lane(site, {&block, fiber.warp_index}, fiber.lane,
                                       fiber.warp->live, address, bytes);
  }
}

}  // namespace

void on_memory_access(const void* p, size_t bytes, size_t align, bool writes, const void* code) {
  ThreadView* thread = current_thread;
  if (!thread) return;
  Fiber& fiber = *static_cast<Fiber*>(thread);
  if (!fiber.block->race.on()) return;
  const size_t in_stack = size_t(static_cast<const std::byte*>(p) - fiber.stack);
  if (in_stack < StackPool::stack_bytes()) return;
  const size_t address = size_t(static_cast<const std::byte*>(p) - thread->shared);
  std::string error;
  try {
    const Site site = Site::of_code(code);
    if (address < SharedMemory::kBytes) {
      check_shared_access(fiber, uint32_t(address), uint32_t(bytes), uint32_t(align), writes, site);
    } else {
      check_global_access(fiber, p, bytes, writes, site);
    }
    return;
  } catch (const Error& e) {
    error = e.what();
  }
  // The compiler sees no call at an access, so that an exception could not pass.
  fiber.block->executor->stop(std::move(error));
}

}  // namespace tessera::simt
