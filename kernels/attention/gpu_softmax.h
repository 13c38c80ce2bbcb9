// The rows of standard attention on a GPU: softmax over whole rows of scores, and its gradient.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/device.h"
#include "core/random.h"
#include "kernels/attention/problem.h"

namespace tessera {

class Context;

// Matrices [queries, keys] of one head of one segment, rows `stride` elements apart, and what is
// done to their elements. Device pointers.
template <class S>
struct SoftmaxRows {
  using T = std::conditional_t<std::is_same_v<S, double>, double, float>;

  int64_t queries, keys, stride;
  int64_t left, right;  // query i sees the keys i - left .. i + right; both may be negative
  T inner, outer;       // scores are outer * tanh(inner * product), without softcap (inner = 0)
                        // outer * product
  T scale;              // of the gradient of a product
  int64_t diagonal;     // ALiBi: query i stands at key i + diagonal
  const float* slope;   // null: no ALiBi
  const T* sink;        // null: none
  Philox random;        // draws for key j of query i number first_draw + i * row_draws + j
  int64_t first_draw, row_draws;
  uint32_t threshold;  // dropout keeps where the upper 24 bits are at least this; 0: no dropout
  T kept_factor;       // of what it keeps
  const T* products;   // q k^T; may be where the probabilities are. The gradient reads it with
                       // softcap only
  S* probabilities;    // before dropout; written by the softmax, read by its gradient
  S* dropped;          // written: probabilities after dropout; null without it
};

// Rows of heads become `values` (T [tokens, heads, D]), rounded, or 0 where it is null.
template <class S>
struct StoredHeads {
  AttentionArray to;  // [tokens, heads, D]
  int64_t tokens, heads, head_dim;
  const typename SoftmaxRows<S>::T* values = nullptr;
};

template <class S>
struct SoftmaxGpu {
  using T = typename SoftmaxRows<S>::T;

  // lse [queries] may be null. Elements that a query does not see become 0.
  void (*forward)(Context&, const SoftmaxRows<S>&, T* lse);
  // From d_p, the gradient of the dropped probabilities: d_products, the gradient of q k^T, which
  // may be where d_p is. d_lse [queries] may be null. With a sink, lse [queries] is read and
  // d_sink [queries] written: each row's part of the sink's gradient.
  void (*backward)(Context&, const SoftmaxRows<S>&, const T* d_p, const T* d_lse, const T* lse,
                   T* d_sink, S* d_products);
  // d_sink [heads] from the first `queries` of each head's parts [heads, stride].
  void (*add_up_sinks)(Context&, const T* parts, int64_t heads, int64_t queries, int64_t stride,
                       T* d_sink);
  void (*store)(Context&, const StoredHeads<S>&);
};
template <Device device, class S>
SoftmaxGpu<S> softmax_gpu();

}  // namespace tessera
