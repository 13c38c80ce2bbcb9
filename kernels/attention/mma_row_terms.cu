// What the gradients need of every row of the output, the gradient of the sinks, and dq from its
// sums.
#include "kernels/attention/mma_backward.cuh"
#include "kernels/launch/gpu/launch.h"
#include "kernels/launch/gpu/reduce.h"

namespace tessera::gpu {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpSize;

// A warp for each token and head.
template <class S>
__global__ void __launch_bounds__(kThreads)
    attention_row_terms_kernel(AttentionBackwardGpu args, bool clears_dq) {
  using T = Wide<S>;
  constexpr int kLanes = kTensorCores<S> ? 2 : 1;
  const AttentionProblem& p = args.problem;
  const int64_t row = int64_t(block_index().x) * kWarps + warp();
  if (row >= p.q_tokens * p.q_heads) return;
  const int64_t token = row / p.q_heads, head = row % p.q_heads;
  const S* o = rows_of<const S>(args.o, int(token), head, 1).data;
  const S* d_o = rows_of<const S>(args.d_o, int(token), head, 1).data;
  T sum = 0;
  for (int d = lane() * kLanes; d < p.head_dim; d += kWarpSize * kLanes) {
    const auto a = load_vector<S, kLanes>(o + d), b = load_vector<S, kLanes>(d_o + d);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum = fma(widen(a.v[i]), widen(b.v[i]), sum);
  }
  sum = warp_sum(sum);
  const RowTerms<T> terms(args);
  const int64_t i = head * p.q_tokens + token;
  if (clears_dq) {
    for (int d = lane(); d < p.head_dim; d += kWarpSize) terms.dq[i * p.head_dim + d] = 0;
  }
  if (lane() != 0) return;
  const T lse = static_cast<const T*>(args.lse)[i];
  terms.lse[i] = lse == -kInfinity<T> ? kInfinity<T> : lse * RowTerms<T>::template unit<S>();
  terms.delta[i] = args.d_lse ? sum - static_cast<const T*>(args.d_lse)[i] : sum;
}

// d_sink = sum over the rows of p (0 - delta), as a score without a value. A block for each head.
template <class T>
__global__ void __launch_bounds__(kThreads) attention_sink_kernel(AttentionBackwardGpu args) {
  const AttentionProblem& p = args.problem;
  const int64_t head = block_index().x;
  const RowTerms<T> terms(args);
  const T sink = sink_of<T>(args.extras, head);
  T sum = 0;
  for (int64_t token = thread_index().x; token < p.q_tokens; token += kThreads) {
    const int64_t i = head * p.q_tokens + token;
    const T lse = static_cast<const T*>(args.lse)[i];
    if (lse != -kInfinity<T>) sum -= std::exp(sink - lse) * terms.delta[i];
  }
  sum = block_sum<kThreads>(sum);
  if (thread_index().x == 0) static_cast<T*>(args.d_sink)[head] = sum;
}

// dq = scale * its sums. A warp for each token and head.
template <class S>
__global__ void __launch_bounds__(kThreads) attention_round_dq_kernel(AttentionBackwardGpu args) {
  const AttentionProblem& p = args.problem;
  const int64_t row = int64_t(block_index().x) * kWarps + warp();
  if (row >= p.q_tokens * p.q_heads) return;
  const int64_t token = row / p.q_heads, head = row % p.q_heads;
  const float* sums = RowTerms<float>(args).dq + (head * p.q_tokens + token) * p.head_dim;
  S* dq = rows_of<S>(args.dq, int(token), head, 1).data;
  for (int d = 2 * lane(); d < p.head_dim; d += 2 * kWarpSize) {
    const auto sum = load_vector<float, 2>(sums + d);
    const float scale = float(p.scale);
    store_global(dq + d,
                 Vector<S, 2>{{from_float<S>(scale * sum.v[0]), from_float<S>(scale * sum.v[1])}});
  }
}

template <class S>
void row_terms(Context& ctx, const AttentionBackwardGpu& args) {
  const int64_t rows = args.problem.q_tokens * args.problem.q_heads;
  if (rows > 0) {
    launch(ctx, attention_row_terms_kernel<S>,
           {.x = unsigned((rows + kWarps - 1) / kWarps), .threads = kThreads}, args,
           adds_dq(args.problem));
  }
  if (args.d_sink) {
    launch(ctx, attention_sink_kernel<Wide<S>>,
           {.x = unsigned(args.problem.q_heads), .threads = kThreads}, args);
  }
}

}  // namespace
}  // namespace tessera::gpu

namespace tessera {

template <>
void attention_row_terms_gpu<TESSERA_GPU_DEVICE>(Context& ctx, const AttentionBackwardGpu& args) {
  gpu::dispatch_storage(args.problem.dtype, [&]<class S>() { gpu::row_terms<S>(ctx, args); });
}

template <>
void attention_round_dq_gpu<TESSERA_GPU_DEVICE>(Context& ctx, const AttentionBackwardGpu& args) {
  const int64_t rows = args.problem.q_tokens * args.problem.q_heads;
  if (rows == 0) return;
  gpu::launch(ctx, gpu::attention_round_dq_kernel<bf16>,
              {.x = unsigned((rows + gpu::kWarps - 1) / gpu::kWarps), .threads = gpu::kThreads},
              args);
}

}  // namespace tessera
