#include "kernels/launch/simt/async_copy.h"

#include <cstring>

#include "kernels/launch/simt/architecture.h"
#include "kernels/launch/simt/device_shared.h"
#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

constexpr int kPoison = 0xff;

void deliver(Block& block, AsyncCopy& copy) {
  if (copy.delivered) return;
  copy.delivered = true;
  std::byte* to = block.shared.at(copy.shared);
  if (copy.source_bytes > 0) std::memcpy(to, copy.global, copy.source_bytes);
  std::memset(to + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
}

// Checks the addresses and notes that the thread writes.
Block& begin_copy(Fiber& fiber, uint32_t shared, const void* global, uint32_t bytes,
                  int source_bytes, Site site) {
  Block& block = *fiber.block;
  block.shared.check(shared, bytes, bytes, "cp.async", site);
  if (reinterpret_cast<uintptr_t>(global) % bytes) {
    fail_at(site, "cp.async: global address {} is not aligned to {} bytes", global, bytes);
  }
  if (source_bytes != 0 && source_bytes != int(bytes)) {
    fail_at(site, "cp.async: {} source bytes are neither 0 nor {}", source_bytes, bytes);
  }
  if (source_bytes != 0) refuse_shared(global, "cp.async", site);
  block.executor->access_global(fiber, global, size_t(source_bytes), Access::read, site);
  block.race.thread_access(fiber, shared, bytes, Access::write, site);
  return block;
}

}  // namespace

void copy_at_once(uint32_t shared, const void* global, uint32_t bytes, int source_bytes,
                  Site site) {
  Fiber& fiber = current_fiber("cp.async", site);
  Block& block = begin_copy(fiber, shared, global, bytes, source_bytes, site);
  AsyncCopy copy{shared, global, bytes, uint32_t(source_bytes), 0, false, site};
  deliver(block, copy);
}

void cp_async(uint32_t shared, const void* global, uint32_t bytes, int source_bytes, Site site) {
  require_architecture(80, "cp.async", site);
  Fiber& fiber = current_fiber("cp.async", site);
  Block& block = begin_copy(fiber, shared, global, bytes, source_bytes, site);
  block.race.set_in_flight(shared, bytes, true);
  AsyncCopy copy{shared, global, bytes, uint32_t(source_bytes), fiber.copy_group, false, site};
  if (block.executor->delivers_now()) {
    deliver(block, copy);
  } else {
    std::memset(block.shared.at(shared), kPoison, bytes);
  }
  fiber.copies.push_back(copy);
}

void cp_async_commit(Site site) {
  ++current_fiber("cp.async.commit_group", site).copy_group;
}

void cp_async_wait(int pending, Site site) {
  Fiber& fiber = current_fiber("cp.async.wait_group", site);
  Block& block = *fiber.block;
  size_t kept = 0;
  for (AsyncCopy& copy : fiber.copies) {
    if (copy.group >= fiber.copy_group - pending) {
      fiber.copies[kept++] = copy;
      continue;
    }
    deliver(block, copy);
    block.executor->access_global(fiber, copy.global, copy.source_bytes, Access::read, site);
    block.race.set_in_flight(copy.shared, copy.bytes, false);
    block.race.thread_access(fiber, copy.shared, copy.bytes, Access::write, site);
  }
  fiber.copies.resize(kept);
  block.executor->maybe_yield("cp.async.wait_group", site);
}

}  // namespace tessera::simt
