// The kernels for GPUs that the usual ones do not fit: sm_75, which lacks much, and sm_86, sm_89
// and sm_120, which have less shared memory than sm_80. Arguments as in gpu.h; Error where these do
// not fit either.
#pragma once

#include "kernels/attention/gpu.h"

namespace tessera {

template <Device device>
void attention_forward_small_gpu(Context& ctx, const AttentionForwardGpu& args);
template <Device device>
void attention_query_gradients_small_gpu(Context& ctx, const AttentionBackwardGpu& args);
template <Device device>
void attention_key_gradients_small_gpu(Context& ctx, const AttentionBackwardGpu& args);

}  // namespace tessera
