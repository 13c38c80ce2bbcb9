// Flash attention on a GPU: what the CPU kernels compute (cpu.h), on tensor cores for bf16 and f16
// and on plain multiply-adds for f32 and f64. Device pointers.
//
//   delta = rowsum(o * d_o) - d_lse
//   p  = exp(s - lse)            ds = p * (d_o v^T - delta)
//   dv = p^T d_o                 dk = scale ds^T q                dq = scale ds k
//
// Backward runs one kernel over blocks of keys, which owns dk and dv, and one over blocks of
// queries, which owns dq and recomputes ds: seven products a pair of blocks instead of five, for
// gradients that need neither atomics nor memory for partial sums and are the same in every run.
// Where adds_dq(), the first kernel does it all, with f32 sums of dq in the workspace.
#pragma once

#include <cstddef>

#include "core/context.h"
#include "kernels/attention/problem.h"

namespace tessera {

struct AttentionForwardGpu {
  AttentionProblem problem;
  AttentionExtras extras;
  AttentionArray q, k, v;     // [Nq, Hq, D], [Nk, Hkv, D], [Nk, Hkv, D]
  AttentionArray o;           // [Nq, Hq, D], written
  void* lse = nullptr;        // [Hq, Nq], written; f64 for f64, else f32
  int splits = 1;             // of the keys, see attention_splits()
  void* workspace = nullptr;  // attention_gpu_forward_workspace() bytes
};

struct AttentionBackwardGpu {
  AttentionProblem problem;
  AttentionExtras extras;
  AttentionArray q, k, v, o, d_o;
  const void* lse = nullptr;    // [Hq, Nq], from forward
  const void* d_lse = nullptr;  // [Hq, Nq], gradient of lse, or null for zero
  AttentionArray dq, dk, dv;    // written
  void* d_sink = nullptr;       // [Hq] like the sink, written; null without one
  void* workspace = nullptr;    // attention_gpu_backward_workspace() bytes
};

// Tokens that the kernels can number.
inline constexpr int64_t kMaxGpuTokens = int64_t{1} << 29;

// Into how many ranges the keys are cut, each of which a block of queries walks on its own, so that
// a few queries of a long context (decoding) keep the GPU busy. A function of sizes alone.
int attention_splits(const AttentionProblem& problem);

// Whether backward adds up dq by atomics: where the problem does not ask for determinism and has no
// terms that only the deterministic kernels know (bf16, D up to 128, no softcap, no dropout).
bool adds_dq(const AttentionProblem& problem);

// Whether the device has the shared memory for that; where not, the deterministic kernels run.
template <Device device>
bool fits_one_pass(Context& ctx, const AttentionProblem& problem);

size_t attention_gpu_forward_workspace(const AttentionProblem& problem);
size_t attention_gpu_backward_workspace(const AttentionProblem& problem);

// For bf16 (not on sm_75) and f16 (D and all strides multiples of 8, addresses of 16 bytes), f32
// and f64.
template <Device device>
void attention_forward_gpu(Context& ctx, const AttentionForwardGpu& args);

// Backward, in this order: delta and lse of every row into the workspace, and d_sink; dq, unless
// adds_dq(); dk and dv, and where adds_dq(), which is only without extras, dq's sums; then dq from
// these.
template <Device device>
void attention_row_terms_gpu(Context& ctx, const AttentionBackwardGpu& args);
template <Device device>
void attention_query_gradients_gpu(Context& ctx, const AttentionBackwardGpu& args);
template <Device device>
void attention_key_gradients_gpu(Context& ctx, const AttentionBackwardGpu& args);
template <Device device>
void attention_round_dq_gpu(Context& ctx, const AttentionBackwardGpu& args);

}  // namespace tessera
