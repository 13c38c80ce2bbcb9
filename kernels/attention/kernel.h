// Attention kernels, forward and backward.
#pragma once

#include <span>

#include "core/context.h"

namespace tessera {

enum class AttentionBackend : uint8_t {
  flash,     // tile by tile; keeps the output and one log-sum-exp per row and head
  standard,  // materialises the probabilities: to compare with
  cudnn,     // cuDNN's, on cuda, of a part of the options (cudnn.h): to compare with
};

struct AttentionOptions {
  AttentionBackend backend = AttentionBackend::flash;
  bool causal = true;         // bottom-right aligned: the last query sees the last key
  int64_t window_left = -1;   // keys seen to the left of the diagonal, inclusive; -1: all
  int64_t window_right = -1;  // likewise to the right
  double scale = 0;           // of the scores; 0: 1 / sqrt(D)
  double softcap = 0;  // scores become softcap * tanh(scores / softcap), before masking; 0: off
  double dropout = 0;  // probability of dropping an attention probability
  // false: backward on a GPU may add up dq by float atomics (bf16, D up to 128, no softcap, dropout
  // or head terms), which saves two of its seven matrix products, takes 4 Hq Nq D bytes more and
  // does not give the same bits in every run.
  // cudnn: true keeps a 16-bit number per query, key and head in its workspace instead.
  bool deterministic = true;
  uint32_t dropout_purpose = 0;  // with the context's seed and step: the key of the dropout mask
};

// Documents in a flattened row of tokens: document s is rows offsets[s] .. offsets[s + 1] - 1.
struct Segments {
  // i32 [S + 1], not decreasing, from 0 to at most N: tokens after the last segment see nothing. On
  // a GPU, whose memory the host cannot read, whoever uploads them checks them with
  // check_segment_offsets().
  Tensor offsets;
  int64_t longest = 0;  // an upper bound of their lengths. Workspace depends on it and on N, not on
                        // the offsets, so that a plan on `meta` needs no data.
  bool documents = false;  // segments are of any number and lengths; false: all of one length
};

// Throws Error unless the offsets begin at 0, do not decrease, end by `tokens`, and no segment is
// longer than `longest`. `name` ("query", "key") is whose they are.
void check_segment_offsets(std::span<const int32_t> offsets, const char* name, int64_t tokens,
                           int64_t longest);

// Heads are [tokens, heads, D] tensors of one dtype (f32, bf16 or f64; on a GPU f16, too), with any
// strides but contiguous D, D from 1 to 256, Hq a multiple of Hkv. On a GPU, D and the strides of
// 16-bit tensors are multiples of 8. lse is f32 (f64 for f64).

// Terms of the scores with a value per query head; undefined: none. ALiBi takes slope * |t - j|
// from the score of a query at key position t and key j, after the softcap. A sink is a further
// score in the softmax of every row, with no value: probabilities of keys sum to less than 1, and
// lse counts it, also for rows that see no key.
struct AttentionHeadTerms {
  Tensor alibi_slopes;  // f32 [Hq]
  Tensor sink;          // [Hq], f64 for f64, else f32
};

// That of lse, delta and the sinks, for q of dtype `dtype`.
constexpr DType dtype_of_sums(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

struct AttentionForwardArgs {
  Tensor q;                               // [Nq, Hq, D]
  Tensor k, v;                            // [Nk, Hkv, D]
  Segments query_segments, key_segments;  // segment s of the queries sees segment s of the keys
  AttentionOptions options;
  Tensor o;              // [Nq, Hq, D], written; rows that see no key are 0
  Tensor lse;            // [Hq, Nq], written: ln sum exp(scores); standard: may be undefined
  Tensor probabilities;  // standard: [Hq, Nq, longest key segment] like q, written; a query's row
                         // holds its segment's keys
  AttentionHeadTerms head_terms;
};

struct AttentionBackwardArgs {
  Tensor q, k, v;        // as in forward, as is all that follows
  Tensor o;              // flash only
  Tensor lse;            // flash, and standard with a sink
  Tensor probabilities;  // standard only
  Tensor d_o;            // [Nq, Hq, D]
  Tensor d_lse;          // [Hq, Nq], gradient of lse; undefined: zero
  Segments query_segments, key_segments;
  AttentionOptions options;
  uint32_t step = 0;  // the context's step in forward: the dropout mask's
  Tensor dq;          // [Nq, Hq, D], written
  Tensor dk, dv;      // [Nk, Hkv, D], written
  AttentionHeadTerms head_terms;
  Tensor d_sink;  // [Hq] like the sink, written; with a sink only
};

// FLOPs of the visible (query, key) pairs: 4 D a pair and head in forward, 10 D in backward (8 D
// standard, which keeps the probabilities). On `meta` all segments count as the longest.
KernelCost cost(const AttentionForwardArgs& args);
KernelCost cost(const AttentionBackwardArgs& args);

// Throw Error for shapes, dtypes, strides, options or offsets that do not fit.
void attention_forward(Context& ctx, const AttentionForwardArgs& args);
void attention_backward(Context& ctx, const AttentionBackwardArgs& args);

}  // namespace tessera
