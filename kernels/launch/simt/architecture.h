// The GPU that is emulated: Options::architecture.
#pragma once

#include "kernels/launch/simt/site.h"

namespace tessera::simt {

// Its compute capability times 10. For the calling thread of a kernel; `operation` says what asks.
int architecture(const char* operation, Site site);

// Throws where the GPU is older than sm_`least`, which brought `instruction`.
void require_architecture(int least, const char* instruction, Site site);

}  // namespace tessera::simt
