// Flash attention on the CPU: raw-pointer kernels for f32, bf16 and f64 storage.
//
//   s = scale * q k^T        s = softcap * tanh(s / softcap) if softcap > 0
//   s = s - slope * |t - j|  with ALiBi
//   p = softmax(s) over the visible keys and the sink          o = (p * keep / (1 - dropout)) v
//
// Tokens of several sequences ("segments") stand one behind the other. Query i of a segment of Sq
// queries and Sk keys stands at key position t = i + Sk - Sq of that segment (bottom-right
// alignment) and sees the keys t - window_left .. t + window_right of its segment, and none beyond
// t if causal. A row that sees no key gives o = 0, lse = -infinity (or the sink) and no gradient;
// the same holds for tokens after the last segment, which have no sink.
//
// Memory is linear in the number of tokens: forward keeps o and lse, backward recomputes p. Sums
// are in f32 (f64 for f64). Results do not depend on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"
#include "kernels/attention/problem.h"

namespace tessera {

struct AttentionForwardCpu {
  AttentionProblem problem;
  AttentionExtras extras;
  AttentionArray q, k, v;     // [Nq, Hq, D], [Nk, Hkv, D], [Nk, Hkv, D]
  AttentionArray o;           // [Nq, Hq, D], written
  void* lse = nullptr;        // [Hq, Nq], written: ln sum exp(s); f64 for f64, else f32
  void* workspace = nullptr;  // attention_forward_workspace() bytes, 64-byte aligned
};

struct AttentionBackwardCpu {
  AttentionProblem problem;
  AttentionExtras extras;
  AttentionArray q, k, v, o, d_o;
  const void* lse = nullptr;    // [Hq, Nq], from forward
  const void* d_lse = nullptr;  // [Hq, Nq], gradient of lse, like lse; or null for zero
  AttentionArray dq, dk, dv;    // written
  void* d_sink = nullptr;       // [Hq] like the sink, written; null without one
  void* workspace = nullptr;    // attention_backward_workspace() bytes, 64-byte aligned
};

// Bytes of workspace; these look at sizes only, not at pointers.
size_t attention_forward_workspace(const AttentionProblem& problem, int threads, Isa isa);
size_t attention_backward_workspace(const AttentionProblem& problem, int threads, Isa isa);

void attention_forward_cpu(const AttentionForwardCpu& args, int threads, Isa isa);
void attention_backward_cpu(const AttentionBackwardCpu& args, int threads, Isa isa);

// The same for one level, defined in the files that are compiled once per level.
template <Isa isa>
void attention_forward_isa(const AttentionForwardCpu& args, int threads);
template <Isa isa>
void attention_backward_isa(const AttentionBackwardCpu& args, int threads);

}  // namespace tessera
