// What backward needs of every row of the output, and the gradient of the sinks, which is made of
// it alone.
#pragma once

#include "kernels/attention/cpu_rows.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

// rowsum(o * d_o) - d_lse
template <class S>
TESSERA_INLINE compute_t<S> delta_of(const AttentionBackwardCpu& args, int64_t head,
                                     int64_t token) {
  using T = compute_t<S>;
  using V = Vec<T>;
  const S* o = row_of<const S>(args.o, token, head);
  const S* d_o = row_of<const S>(args.d_o, token, head);
  V sum = V::zero();
  for (int64_t c = 0; c < args.problem.head_dim; c += V::kLanes) {
    const int lanes = lanes_left<V>(args.problem.head_dim - c);
    sum = fma(V::load_first(o + c, lanes), V::load_first(d_o + c, lanes), sum);
  }
  const T* d_lse = static_cast<const T*>(args.d_lse);
  return reduce_add(sum) - (d_lse ? d_lse[head * args.problem.q_tokens + token] : T(0));
}

// d_sink = sum over the rows of p (0 - delta), as a score without a value.
template <class S>
void write_sink_gradients(const AttentionBackwardCpu& args, int threads) {
  using T = compute_t<S>;
  using V = Vec<T>;
  const AttentionProblem& p = args.problem;
  parallel_tasks(threads, p.q_heads, [&](int64_t head, int) {
    const T sink = static_cast<const T*>(args.extras.sink)[head];
    const T* lse = static_cast<const T*>(args.lse) + head * p.q_tokens;
    double sum = 0;
    for (int64_t token = 0; token < p.cu_q[p.segments]; ++token) {
      T probability;
      exp2(V((sink - lse[token]) * T(1.4426950408889634))).store_first(&probability, 1);
      sum -= double(probability) * double(delta_of<S>(args, head, token));
    }
    static_cast<T*>(args.d_sink)[head] = T(sum);
  });
}

}  // namespace
}  // namespace tessera
