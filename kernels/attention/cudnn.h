// Attention by cuDNN, on `cuda`: to compare with. No GPU has run it yet.
//
//   forward   s = scale q k^T, masked;  lse = ln sum exp(s);  o = softmax(s) v
//   backward  what gpu.h describes, from o and lse
//
// Either is a graph of cuDNN's matrix products, reductions and pointwise operations, in the order
// that its fused attention engines look for. The single descriptors of newer versions are not used:
// the forward one (9.13) has a causal mask only from 9.21 on, and the backward one has no engine
// for Hopper in 9.19 (asked of it for the properties of an H200), where 9.19 and 9.28 both have
// engines for these graphs.
//
// bf16 and f16; causal (bottom-right) or full; grouped heads; D a multiple of 8 up to 256, where
// cuDNN has an engine for it. No window, softcap, dropout, packed documents, head terms, gradient
// of lse, nor more queries than keys under a causal mask: check_cudnn() says so.
#pragma once

#include <compare>

#include "kernels/attention/cudnn_graph.h"
#include "kernels/attention/kernel.h"
#include "kernels/attention/problem.h"

namespace tessera {

// What a plan depends on.
struct CudnnShape {
  struct Strides {
    int64_t token = 0, head = 0;
    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the generated code for ours
    auto operator<=>(const Strides&) const = default;
  };
  bool backward = false;
  DType dtype = DType::bf16;
  int64_t batch = 1, q_heads = 1, kv_heads = 1, queries = 1, keys = 1, head_dim = 64;
  bool causal = false;
  // Backward keeps the gradient of the scores, [batch, q_heads, queries, keys] of 16 bits, in
  // cuDNN's workspace and adds nothing up by atomics; otherwise it does, into f32 sums of dq.
  bool deterministic = false;
  Strides q, k, v, o;  // of [tokens, heads, D]; segment b begins at token b * queries or keys
  Strides d_o, dq, dk, dv{};  // backward

  // NOLINTNEXTLINE(modernize-use-nullptr): as above
  auto operator<=>(const CudnnShape&) const = default;
  // "forward of bf16 [2, 8, 1024, 128], 1024 keys, causal"
  std::string text() const;
};

// ctx.state<CudnnFunctions>(): whose functions to call; null: those of cudnn_api().
struct CudnnFunctions {
  const CudnnApi* api = nullptr;
};

CudnnGraph cudnn_attention_graph(const CudnnApi& api, const CudnnShape& shape);

// Throw Error, in one line with a remedy, for what cuDNN is not asked for; see above.
void check_cudnn(const Context& ctx, const AttentionForwardArgs& args,
                 const AttentionProblem& problem);
void check_cudnn(const Context& ctx, const AttentionBackwardArgs& args,
                 const AttentionProblem& problem);

// Arguments are checked. On `meta` they take the workspace that is ours, without the scratch that
// cuDNN asks for, which the device's library alone knows.
void cudnn_forward(Context& ctx, const AttentionForwardArgs& args, const AttentionProblem& problem);
void cudnn_backward(Context& ctx, const AttentionBackwardArgs& args,
                    const AttentionProblem& problem);

}  // namespace tessera
