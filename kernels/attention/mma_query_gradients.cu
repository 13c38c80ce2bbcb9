#include "kernels/attention/mma_query_gradients.cuh"
#include "kernels/attention/mma_small.h"

namespace tessera {

template <>
void attention_query_gradients_gpu<TESSERA_GPU_DEVICE>(Context& ctx,
                                                       const AttentionBackwardGpu& args) {
  gpu::dispatch_storage(args.problem.dtype, [&]<class S>() {
    gpu::dispatch_config<gpu::QueryGradientShapes, gpu::BackwardTiles, S>(
        ctx, args.problem, args.extras, [&]<class C>() { gpu::query_gradients<C>(ctx, args); },
        [&] { attention_query_gradients_small_gpu<TESSERA_GPU_DEVICE>(ctx, args); });
  });
}

}  // namespace tessera
