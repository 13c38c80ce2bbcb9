// Takes the place of cublaslt.cpp in a build without it.
#include "kernels/linear/cublaslt.h"

namespace tessera {

bool has_cublaslt() {
  return false;
}

void cublaslt_matmul(Context&, const MatmulArgs&, const Tensor&) {
  fail(
      "matmul: this build has no cuBLASLt; install it (libcublas-dev) and configure again with "
      "-DTESSERA_CUDA=ON");
}

}  // namespace tessera
