#include "kernels/launch/simt/atomics.h"

#include <algorithm>
#include <atomic>

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

// `change` from the old to the new value. Blocks on other OS threads take part, hence the
// hardware's atomics.
template <class T, class Change>
T update(const char* name, T* p, Site site, Change change) {
  Fiber& fiber = current_fiber(name, site);
  Block& block = *fiber.block;
  block.executor->maybe_yield(name, site);
  if (reinterpret_cast<uintptr_t>(p) % sizeof(T)) {
    fail_at(site, "{}: address {} is not aligned to {} bytes", name, static_cast<void*>(p),
            sizeof(T));
  }
  if (block.shared.contains(p)) {
    const uint32_t address = block.shared.address_of(p, name, site);
    block.shared.check(address, sizeof(T), sizeof(T), name, site);
    block.race.thread_access(fiber, address, sizeof(T), Access::atomic, site);
  } else {
    block.executor->access_global(fiber, p, sizeof(T), Access::atomic, site);
  }
  const std::atomic_ref<T> memory(*p);
  T old = memory.load();
  while (!memory.compare_exchange_weak(old, change(old))) {
  }
  return old;
}

template <class T>
T add(T* p, T v, Site site) {
  return update("atomic_add", p, site, [v](T old) { return T(old + v); });
}

}  // namespace

int32_t atomic_add(int32_t* p, int32_t v, Site site) {
  return update("atomic_add", p, site,
                [v](int32_t old) { return int32_t(uint32_t(old) + uint32_t(v)); });
}
uint32_t atomic_add(uint32_t* p, uint32_t v, Site site) {
  return add(p, v, site);
}
uint64_t atomic_add(uint64_t* p, uint64_t v, Site site) {
  return add(p, v, site);
}
float atomic_add(float* p, float v, Site site) {
  return add(p, v, site);
}

uint32_t atomic_max(uint32_t* p, uint32_t v, Site site) {
  return update("atomic_max", p, site, [v](uint32_t old) { return std::max(old, v); });
}

void thread_fence(Site site) {
  current_fiber("thread_fence", site).block->executor->maybe_yield("thread_fence", site);
}

}  // namespace tessera::simt
