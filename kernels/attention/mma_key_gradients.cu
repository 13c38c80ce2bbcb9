#include "kernels/attention/mma_key_gradients.cuh"
#include "kernels/attention/mma_small.h"

namespace tessera {

template <>
bool fits_one_pass<TESSERA_GPU_DEVICE>(Context& ctx, const AttentionProblem& problem) {
  return gpu::dispatch_one_pass(problem.head_dim, [&]<class C>() {
    return gpu::OnePassTiles<C>::kBytes <= gpu_limits<TESSERA_GPU_DEVICE>(ctx).shared_bytes;
  });
}

template <>
void attention_key_gradients_gpu<TESSERA_GPU_DEVICE>(Context& ctx,
                                                     const AttentionBackwardGpu& args) {
  if (adds_dq(args.problem)) {
    return gpu::dispatch_one_pass(args.problem.head_dim,
                                  [&]<class C>() { gpu::key_gradients<C, true>(ctx, args); });
  }
  gpu::dispatch_storage(args.problem.dtype, [&]<class S>() {
    gpu::dispatch_config<gpu::KeyGradientShapes, gpu::BackwardTiles, S>(
        ctx, args.problem, args.extras, [&]<class C>() { gpu::key_gradients<C, false>(ctx, args); },
        [&] { attention_key_gradients_small_gpu<TESSERA_GPU_DEVICE>(ctx, args); });
  });
}

}  // namespace tessera
