// What the attention kernels of every device are told.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace tessera {

struct AttentionProblem {
  DType dtype = DType::f32;            // of q, k, v, o and their gradients
  int64_t q_tokens = 0, k_tokens = 0;  // Nq, Nk
  int64_t q_heads = 1, kv_heads = 1;   // query head h reads kv head h / (q_heads / kv_heads)
  int64_t head_dim = 1;                // D, 1 .. 256
  int64_t segments = 1;
  bool documents = false;  // segments differ in length and number from call to call: workspace
                           // depends on neither
  int64_t max_q = 0,
          max_k = 0;  // upper bounds of the segments' lengths; the fewer, the less workspace
  const int32_t* cu_q = nullptr;  // first token of each segment, and their end: [segments + 1]
  const int32_t* cu_k = nullptr;
  bool causal = false;
  int64_t window_left = -1, window_right = -1;  // -1: unlimited
  double scale = 1;                             // > 0
  double softcap = 0;                           // 0: none
  // Dropout keeps (query head h, query token i, key token j) where Philox(seed, purpose,
  // step).uniform( (h * Nq + i) * Nk + j) >= dropout; tokens count from the start of the arrays.
  double dropout = 0;
  uint64_t seed = 0;
  uint32_t purpose = 0, step = 0;
  bool deterministic = true;  // false: kernels of GPUs may add up dq by atomics
  bool has_sink = false;      // see AttentionExtras; takes workspace where o is not kept
};

// Terms of the scores with a value per query head; null: none. With ALiBi, a query at key position
// t sees key j with slope * |t - j| taken from its score, after the softcap. A sink is a score of
// its own that takes part in the softmax of every row of a segment and has no value: it makes
// probabilities sum to less than 1, and counts in lse, also of rows that see no key.
struct AttentionExtras {
  const float* alibi_slopes = nullptr;  // [Hq]
  const void* sink = nullptr;           // [Hq]; f64 for f64, else f32
};

// A [tokens, heads, D] array; strides in elements, D contiguous.
struct AttentionArray {
  void* data = nullptr;
  int64_t token_stride = 0, head_stride = 0;
};

}  // namespace tessera
