// Standard attention on a GPU: whole matrices of scores, one head of one segment after the other,
// by cuBLASLt on `cuda` and by the CPU's products on `simt`, with the rows in kernels
// (gpu_softmax.h). Memory grows with the square of the length: to compare with.
#pragma once

#include "kernels/attention/kernel.h"
#include "kernels/attention/problem.h"

namespace tessera {

// Compute what kernel.h describes, on arguments that are checked already; f32, bf16 and f64.
// `problem` is that of args, its cu_q and cu_k are not read: the offsets are
// downloaded, which waits for the device's kernels. On `meta` only the workspace is taken: the same
// tensors for any offsets.
void standard_forward_gpu(Context& ctx, const AttentionForwardArgs& args,
                          const AttentionProblem& problem);
void standard_backward_gpu(Context& ctx, const AttentionBackwardArgs& args,
                           const AttentionProblem& problem);

}  // namespace tessera
