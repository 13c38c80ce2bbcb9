// The rows of standard attention: softmax and its gradient over whole rows of scores.
#include "kernels/attention/cpu_dropout.h"
#include "kernels/attention/cpu_rows.h"
#include "kernels/attention/standard.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

template <class S>
class Rows {
  using T = compute_t<S>;
  using V = Vec<T>;

 public:
  explicit Rows(const StandardRows& rows)
      : rows_(rows),
        p_(*rows.problem),
        band_(p_, rows.segment),
        scale_(p_),
        terms_(*rows.extras, scale_, rows.head),
        dropout_(p_) {}

  int64_t count() const { return band_.queries; }

  void softmax(int64_t i, T* lse) const {
    T* s = row<T>(rows_.scores, i);
    S* p = row<S>(rows_.probabilities, i);
    const Range seen = visible(i);
    if (scale_.capped) apply_softcap_row(s, seen);
    if (terms_.biased) apply_alibi_row(s, i, seen);
    V largest{-T(__builtin_inf())}, total = V::zero();
    for_lanes(seen, [&](int64_t x, int n) {
      largest = max(largest, select(first_lanes<V>(n), V::load_first(s + x, n), largest));
    });
    T maximum = reduce_max(largest);
    if (terms_.has_sink && !(maximum > terms_.sink)) maximum = terms_.sink;
    const V exponent{T(scale_.exponent)};
    for_lanes(seen, [&](int64_t x, int n) {
      const V e = exp2((V::load_first(s + x, n) - V(maximum)) * exponent);
      total += select(first_lanes<V>(n), e, V::zero());
      e.store_first(s + x, n);
    });
    T sum = reduce_add(total);
    if (terms_.has_sink) sum += first_of(exp2(V(terms_.sink - maximum) * exponent));
    const V factor{T(1) / sum};
    for_lanes(seen, [&](int64_t x, int n) {
      const V y = V::load_first(s + x, n) * factor;
      y.store_first(s + x, n);
      y.store_first(p + x, n);
    });
    zero_outside(s, seen);
    zero_outside(p, seen);
    drop(i, s, seen);
    if (lse) {
      const bool counts_nothing = seen.empty() && !terms_.has_sink;
      lse[i] =
          counts_nothing ? -T(__builtin_inf()) : maximum * T(scale_.outer) + first_of(log(V(sum)));
    }
  }

  void gradient(int64_t i, const StandardRowGradients& g) const {
    T *s = row<T>(rows_.scores, i), *d_p = row<T>(g.d_p, i);
    const T* d_lse = static_cast<const T*>(g.d_lse);
    const S* p = row<const S>(rows_.probabilities, i);
    const Range seen = visible(i);
    if (scale_.capped) apply_softcap_row(s, seen);
    drop(i, d_p, seen);
    V sum = V::zero();
    for_lanes(seen, [&](int64_t x, int n) {
      sum = fma(V::load_first(p + x, n), V::load_first(d_p + x, n), sum);
    });
    const T row_delta = reduce_add(sum) - (d_lse ? d_lse[i] : T(0));
    if (g.d_sink) {  // p (0 - delta), as a score without a value
      const T exponent = terms_.sink * T(scale_.outer) - static_cast<const T*>(g.lse)[i];
      static_cast<T*>(g.d_sink)[i] =
          -row_delta * first_of(exp2(V(exponent * T(1.4426950408889634))));
    }
    const V delta{row_delta}, factor{T(p_.scale)};
    for_lanes(seen, [&](int64_t x, int n) {
      const V y = V::load_first(p + x, n);
      V d_s = y * (V::load_first(d_p + x, n) - delta) * factor;
      if (scale_.capped) {
        const V t = V::load_first(s + x, n);
        d_s *= fma(-t, t, V(T(1)));
      }
      d_s.store_first(d_p + x, n);
      y.store_first(s + x, n);
    });
    zero_outside(d_p, seen);
    zero_outside(s, seen);
    drop(i, s, seen);
  }

 private:
  static T first_of(V x) {
    T first;
    x.store_first(&first, 1);
    return first;
  }

  template <class X>
  X* row(void* matrix, int64_t i) const {
    return static_cast<X*>(matrix) + i * p_.max_k;
  }

  Range visible(int64_t i) const {
    const Range seen = band_.keys_of({i, i + 1});
    return seen.empty() ? Range{0, 0} : seen;
  }

  template <class Body>
  TESSERA_INLINE static void for_lanes(Range columns, const Body& body) {
    for (int64_t x = columns.begin; x < columns.end; x += V::kLanes) {
      body(x, lanes_left<V>(columns.end - x));
    }
  }

  void apply_softcap_row(T* s, Range seen) const {
    for_lanes(seen, [&](int64_t x, int n) {
      tanh(V::load_first(s + x, n) * V(T(scale_.inner))).store_first(s + x, n);
    });
  }

  void apply_alibi_row(T* s, int64_t i, Range seen) const {
    const int64_t place = i + band_.keys - band_.queries;
    for_lanes(seen, [&](int64_t x, int n) {
      const V distance = abs(counting_from<V>(T(x - place)));
      fma(distance, V(-terms_.slope), V::load_first(s + x, n)).store_first(s + x, n);
    });
  }

  template <class X>
  void zero_outside(X* x, Range seen) const {
    for (int64_t j = 0; j < seen.begin; ++j) x[j] = X{};
    for (int64_t j = seen.end; j < band_.keys; ++j) x[j] = X{};
  }

  // x *= keep / (1 - dropout)
  void drop(int64_t i, T* x, Range seen) const {
    if (p_.dropout == 0) return;
    constexpr int64_t kChunk = 64;
    T keep[kChunk];
    const V factor{T(1 / (1 - p_.dropout))};
    for (int64_t begin = seen.begin; begin < seen.end; begin += kChunk) {
      const int64_t count = smaller(kChunk, seen.end - begin);
      dropout_.row(rows_.head, p_.cu_q[rows_.segment] + i, p_.cu_k[rows_.segment] + begin, count,
                   keep);
      for_lanes({0, count}, [&](int64_t c, int n) {
        T* at = x + begin + c;
        (V::load_first(at, n) * V::load_first(keep + c, n) * factor).store_first(at, n);
      });
    }
  }

  const StandardRows& rows_;
  const AttentionProblem& p_;
  Band band_;
  ScoreScale scale_;
  HeadScores<T> terms_;
  DropoutMask dropout_;
};

// Calls body with a Rows of the problem's storage type and each of its rows.
template <class S, class Body>
void for_each_row(const StandardRows& rows, int threads, const Body& body) {
  const Rows<S> kernel(rows);
  parallel_for(threads, kernel.count(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(kernel, i);
  });
}

template <class S>
void softmax(const StandardRows& rows, void* lse, int threads) {
  for_each_row<S>(rows, threads, [&](const Rows<S>& kernel, int64_t i) {
    kernel.softmax(i, static_cast<compute_t<S>*>(lse));
  });
}

template <class S>
void gradient(const StandardRows& rows, const StandardRowGradients& gradients, int threads) {
  for_each_row<S>(rows, threads,
                  [&](const Rows<S>& kernel, int64_t i) { kernel.gradient(i, gradients); });
}

}  // namespace

template <>
void standard_softmax<TESSERA_ISA>(const StandardRows& rows, void* lse, int threads) {
  switch (rows.problem->dtype) {
    case DType::f64:
      return softmax<double>(rows, lse, threads);
    case DType::bf16:
      return softmax<bf16>(rows, lse, threads);
    default:
      return softmax<float>(rows, lse, threads);
  }
}

template <>
void standard_gradient<TESSERA_ISA>(const StandardRows& rows, const StandardRowGradients& gradients,
                                    int threads) {
  switch (rows.problem->dtype) {
    case DType::f64:
      return gradient<double>(rows, gradients, threads);
    case DType::bf16:
      return gradient<bf16>(rows, gradients, threads);
    default:
      return gradient<float>(rows, gradients, threads);
  }
}

}  // namespace tessera
