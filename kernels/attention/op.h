// Attention as the model calls it.
#pragma once

#include "core/autograd/op.h"

namespace tessera {

enum class AttentionBackend : uint8_t {
  flash,     // tile by tile; keeps the output and one log-sum-exp per row and head
  standard,  // materialises the probabilities: to compare with
};

struct AttentionOptions {
  AttentionBackend backend = AttentionBackend::flash;
  bool causal = true;         // bottom-right aligned: the last query sees the last key
  int64_t window_left = -1;   // keys seen to the left of the diagonal, inclusive; -1: all
  int64_t window_right = -1;  // likewise to the right
  double scale = 0;           // of the scores; 0: 1 / sqrt(D)
  double softcap = 0;         // scores become softcap * tanh(scores / softcap), before masking; 0: off
  double dropout = 0;         // probability of dropping an attention probability
  uint32_t dropout_purpose = 0;  // with the context's seed and step: the key of the dropout mask
};

// Documents in a flattened row of tokens: document s is rows offsets[s] .. offsets[s + 1] - 1.
struct Segments {
  Tensor offsets;       // i32 [S + 1], from 0 to N, not decreasing
  int64_t longest = 0;  // an upper bound of their lengths. Workspace depends on it and on N, not on the offsets, so
                        // that a plan on `meta` needs no data.
};

// Self-attention inside each segment. qkv [N, (Hq + 2 Hkv) * D]: query heads, then key heads, then value heads;
// Hq a multiple of Hkv. Returns [N, Hq * D]. Rows that see no key give 0.
Var attention(Context& ctx, const Var& qkv, const Segments& segments, int64_t heads, int64_t kv_heads,
              const AttentionOptions& options);

// Attention of queries to keys of their own: q [Nq, Hq, D], k and v [Nk, Hkv, D], any strides with contiguous D.
// Segment s of the queries sees segment s of the keys. Returns [Nq, Hq, D].
Var attention(Context& ctx, const Var& q, const Var& k, const Var& v, const Segments& query_segments,
              const Segments& key_segments, const AttentionOptions& options);

}  // namespace tessera
