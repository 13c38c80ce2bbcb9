// What the kernels of backward share.
#pragma once

#include "kernels/attention/mma_configs.cuh"
#include "kernels/attention/mma_scores.cuh"

namespace tessera::gpu {
namespace {

// The workspace: per head and query, [Hq, Nq] each.
template <class T>
struct RowTerms {
  T* lse;    // of forward, in units of unit<S>(), but infinity where a row sees no key, so that its
             // probabilities are 0
  T* delta;  // rowsum(o * d_o) - d_lse
  T* dq;     // [Hq, Nq, D], sums in the making, where adds_dq()

  __device__ explicit RowTerms(const AttentionBackwardGpu& args)
      : lse(static_cast<T*>(args.workspace)),
        delta(lse + args.problem.q_heads * args.problem.q_tokens),
        dq(delta + args.problem.q_heads * args.problem.q_tokens) {}

  // For probabilities that are rounded to 16 bits lse is an exponent of 2, which saves an
  // instruction a pair; rounding it then shows where f32 probabilities are near 1.
  template <class S>
  __device__ static constexpr T unit() {
    return kTensorCores<S> ? kLog2E<T> : T(1);
  }
};

// Tiles of the rows that a block owns, and stages of those of the columns that pass by. Rows and
// columns are queries with gradients of outputs, or keys with values.
template <class C>
struct BackwardTiles {
  using Of = Tile<typename C::S, C::kD>;
  using T = typename C::T;
  static constexpr int kTermBytes = C::kColumns * int(sizeof(T));
  static constexpr int kStageBytes = Of::bytes(2 * C::kColumns) + 2 * kTermBytes;
  static constexpr int kBytes = Of::bytes(2 * C::kRows) + C::kStages * kStageBytes;

  Of rows[2];
  std::byte* columns;

  __device__ BackwardTiles()
      : rows{{dynamic_shared<128>()}, {dynamic_shared<128>() + Of::bytes(C::kRows)}},
        columns(rows[1].data + Of::bytes(C::kRows)) {}
  __device__ Of column(int stage, int i) const {
    return {columns + (2 * stage + i) * Of::bytes(C::kColumns)};
  }
  __device__ std::byte* end() const { return rows[0].data + kBytes; }
  // lse or delta of the columns, where these are queries.
  __device__ T* terms(int stage, int i) const {
    return reinterpret_cast<T*>(columns + Of::bytes(2 * C::kStages * C::kColumns) +
                                (2 * stage + i) * kTermBytes);
  }
};

// From a pair's products q k^T and d_o v^T to its probability and the gradient of its score.
template <class C>
class ScoreGradient {
  using T = typename C::T;

 public:
  __device__ ScoreGradient(const AttentionBackwardGpu& args, const Band& band, int head)
      : band_(band),
        head_(head),
        terms_(args.problem, args.extras, band, head),
        factor_(C::kExtras ? kLog2E<T> : T(args.problem.scale * kLog2E<double>)),
        mask_(args.problem),
        keep_scale_(T(1 / (1 - args.problem.dropout))) {}

  // s becomes the probability after dropout, without its scale; d_p the gradient of the scaled
  // product.
  __device__ void operator()(T& s, T& d_p, T lse, T delta, int query, int key, bool visible) {
    T gradient = d_p, slope = 1;
    if constexpr (C::kExtras) {
      const auto score = terms_(s, query, key);
      s = score.value;
      slope = score.slope;
    }
    T p = exp2_for<typename C::S>(kTensorCores<typename C::S> ? fma(s, factor_, -lse)
                                                              : (s - lse) * factor_);
    if (!visible) p = 0;
    bool kept = true;
    if constexpr (C::kExtras) {
      if (mask_.active()) {
        kept = mask_.keeps(head_, band_.first_query + query, band_.first_key + key);
        gradient = kept ? gradient * keep_scale_ : T(0);
      }
    }
    s = kept ? p : T(0);
    d_p = p * (gradient - delta) * slope;
  }

  // Calls f(sees) with a function of query and key. Without extra terms, tiles of which everything
  // is visible have code of their own: the band's comparisons would double the work between the
  // products.
  template <class F>
  __device__ void with_visibility(bool all_visible, const F& f) const {
    if constexpr (C::kExtras) {
      f([this, all_visible](int query, int key) { return all_visible || band_.sees(query, key); });
    } else if (all_visible) {
      f([](int, int) { return true; });
    } else {
      f([this](int query, int key) { return band_.sees(query, key); });
    }
  }

 private:
  const Band& band_;
  int head_;
  ScoreTerms<typename C::S, C::kExtras> terms_;
  T factor_;  // from scores, or without extras products, to exponents of 2
  DropoutMask mask_;
  T keep_scale_;
};

}  // namespace
}  // namespace tessera::gpu
