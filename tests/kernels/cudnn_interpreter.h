// cuDNN's functions as a reading of its documentation: graphs are run on the host, in double, with
// tensors rounded only where they are stored. For the operations of attention.
#pragma once

#include "kernels/attention/cudnn_api.h"

namespace tessera::test {

const CudnnApi& interpreted_cudnn();

}  // namespace tessera::test
