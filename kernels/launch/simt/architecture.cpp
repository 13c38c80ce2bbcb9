#include "kernels/launch/simt/architecture.h"

#include "kernels/launch/simt/state.h"

namespace tessera::simt {

int architecture(const char* operation, Site site) {
  return current_fiber(operation, site).architecture;
}

void require_architecture(int least, const char* instruction, Site site) {
  const int number = architecture(instruction, site);
  if (number < least) [[unlikely]]
    fail_at(site, "{} needs sm_{}; the emulated GPU is sm_{}", instruction, least, number);
}

}  // namespace tessera::simt
