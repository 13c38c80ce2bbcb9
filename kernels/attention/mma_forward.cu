#include "kernels/attention/mma_forward.cuh"
#include "kernels/attention/mma_small.h"

namespace tessera {

template <>
void attention_forward_gpu<TESSERA_GPU_DEVICE>(Context& ctx, const AttentionForwardGpu& args) {
  gpu::dispatch_storage(args.problem.dtype, [&]<class S>() {
    gpu::dispatch_config<gpu::ForwardShapes, gpu::ForwardTiles, S>(
        ctx, args.problem, args.extras, [&]<class C>() { gpu::forward<C>(ctx, args); },
        [&] { attention_forward_small_gpu<TESSERA_GPU_DEVICE>(ctx, args); });
  });
}

}  // namespace tessera
