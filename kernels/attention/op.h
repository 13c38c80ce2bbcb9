// Attention as the model calls it.
#pragma once

#include "core/autograd/op.h"
#include "kernels/attention/kernel.h"

namespace tessera {

// See AttentionHeadTerms; undefined: none. The sink is [Hq], f64 for f64, else f32.
struct AttentionTerms {
  Tensor alibi_slopes = {};
  Var sink = {};
};

// Self-attention inside each segment. qkv [N, (Hq + 2 Hkv) * D]: query heads, then key heads, then
// value heads; Hq a multiple of Hkv. Returns [N, Hq * D]. Rows that see no key give 0. Saves qkv,
// the output and lse [Hq, N] (flash) or the probabilities (standard; with a sink lse, too).
Var attention(Context& ctx, const Var& qkv, const Segments& segments, int64_t heads,
              int64_t kv_heads, const AttentionOptions& options, const AttentionTerms& terms = {});

// Attention of queries to keys of their own: q [Nq, Hq, D], k and v [Nk, Hkv, D], any strides with
// contiguous D. Segment s of the queries sees segment s of the keys. Returns [Nq, Hq, D].
Var attention(Context& ctx, const Var& q, const Var& k, const Var& v,
              const Segments& query_segments, const Segments& key_segments,
              const AttentionOptions& options, const AttentionTerms& terms = {});

}  // namespace tessera
