// Naive attention in double precision, one row at a time: the oracle for every attention kernel.
//
//   s = scale * q k^T            s = softcap * tanh(s / softcap) if softcap > 0
//   p = softmax(s) over the visible keys           o = (p * keep / (1 - dropout)) v
//
// Query i of a segment with Sq queries and Sk keys stands at key position t = i + Sk - Sq
// (bottom-right aligned). It sees keys t - window_left <= j <= t + window_right, and with `causal`
// only j <= t. ALiBi takes slope * |t - j| from the score after the softcap. A sink is a further
// score of each row, with no value.
#pragma once

#include <functional>

#include "tests/support/values.h"

namespace tessera::reference {

struct AttentionSpec {
  // Query head h reads kv head h / (q_heads / kv_heads).
  int64_t q_heads = 1, kv_heads = 1, head_dim = 1;
  // First row of every segment, and the number of rows at the end: [segments + 1].
  std::vector<int32_t> cu_q = {}, cu_k = {};
  bool causal = false;
  int64_t window_left = -1, window_right = -1;  // -1: unlimited
  double scale = 1;
  double softcap = 0;  // 0: none
  double dropout = 0;  // probability of dropping
  // Whether dropout keeps (query head, row of q, row of k); rows count from the start of the packed
  // arrays.
  std::function<bool(int64_t head, int64_t q_row, int64_t k_row)> keep = {};
  Vec alibi_slopes = {}, sink = {};  // [Hq], or empty for none
};

// Where a run of the same formula rounds: what it stores (scores, probabilities, outputs) and its
// running sums.
enum class Precision {
  exact,  // double throughout
  f32,    // all in f32
  bf16,   // stored in bf16, summed in f32
  f16,    // stored in f16, summed in f32
};

struct AttentionOutput {
  Vec o;    // [Nq, Hq, D]; zeros where no key is visible
  Vec lse;  // [Hq, Nq], natural logarithm of sum exp(s), without dropout; -infinity where no key is
            // visible
};

struct AttentionGradients {
  Vec dq, dk, dv;  // [Nq, Hq, D], [Nk, Hkv, D], [Nk, Hkv, D]
  Vec d_sink;      // [Hq], or empty without a sink
};

// q [Nq, Hq, D], k and v [Nk, Hkv, D].
AttentionOutput attention_forward(const AttentionSpec& spec, const Vec& q, const Vec& k,
                                  const Vec& v, Precision precision = Precision::exact);

// d_o [Nq, Hq, D]; d_lse [Hq, Nq] or empty for zero.
AttentionGradients attention_backward(const AttentionSpec& spec, const Vec& q, const Vec& k,
                                      const Vec& v, const Vec& d_o, const Vec& d_lse = {},
                                      Precision precision = Precision::exact);

}  // namespace tessera::reference
