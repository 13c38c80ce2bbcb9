#include "kernels/launch/simt/device_shared.h"

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {

std::byte* static_shared(const void* key, uint32_t bytes, uint32_t align, Site site) {
  return current_fiber("shared_array", site).block->shared.static_array(key, bytes, align, site);
}

std::byte* dynamic_shared(uint32_t align, Site site) {
  return current_fiber("dynamic_shared", site).block->shared.dynamic_array(align, site);
}

uint32_t shared_address(const void* p, Site site) {
  return current_fiber("shared_address", site).block->shared.address_of(p, "shared_address", site);
}

void refuse_shared(const void* p, const char* operation, Site site) {
  if (!current_fiber(operation, site).block->shared.contains(p)) return;
  fail_at(site, "{}: address {} is in shared memory; use store_vector or load_vector there",
          operation, p);
}

}  // namespace tessera::simt
