#include "kernels/attention/mma_small.h"

#include "kernels/attention/mma_forward.cuh"
#include "kernels/attention/mma_key_gradients.cuh"
#include "kernels/attention/mma_query_gradients.cuh"

namespace tessera {

template <>
void attention_forward_small_gpu<TESSERA_GPU_DEVICE>(Context& ctx,
                                                     const AttentionForwardGpu& args) {
  gpu::dispatch_small_config<gpu::SmallForwardShapes, gpu::ForwardTiles>(
      ctx, args.problem, [&]<class C>() { gpu::forward<C>(ctx, args); });
}

template <>
void attention_query_gradients_small_gpu<TESSERA_GPU_DEVICE>(Context& ctx,
                                                             const AttentionBackwardGpu& args) {
  gpu::dispatch_small_config<gpu::SmallQueryGradientShapes, gpu::BackwardTiles>(
      ctx, args.problem, [&]<class C>() { gpu::query_gradients<C>(ctx, args); });
}

template <>
void attention_key_gradients_small_gpu<TESSERA_GPU_DEVICE>(Context& ctx,
                                                           const AttentionBackwardGpu& args) {
  gpu::dispatch_small_config<gpu::SmallKeyGradientShapes, gpu::BackwardTiles>(
      ctx, args.problem, [&]<class C>() { gpu::key_gradients<C, false>(ctx, args); });
}

}  // namespace tessera
