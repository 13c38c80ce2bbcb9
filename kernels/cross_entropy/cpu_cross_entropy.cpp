#include "kernels/cross_entropy/cpu.h"
#include "kernels/elementwise/sweep.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 4096;  // logits that are worth waking a thread for

// As load(), with -infinity in the lanes beyond the array: they change neither maximum nor sum.
template <class V, class S>
TESSERA_INLINE V load_logits(const S* p, Whole width) {
  return load<V>(p, width);
}
template <class V, class S>
TESSERA_INLINE V load_logits(const S* p, int lanes) {
  const V infinity{typename V::Scalar(__builtin_inf())};
  return select(first_lanes<V>(lanes), load<V>(p, lanes), -infinity);
}

template <class S>
TESSERA_INLINE compute_t<S> value_at(const S* p) {
  return reduce_add(Vec<compute_t<S>>::load_first(p, 1));
}

template <class Real>
TESSERA_INLINE Real log_of(Real x) {
  return reduce_max(log(Vec<Real>(x)));
}

template <class Real>
struct RowStatistics {
  Real max, sum;  // sum of exp(logit - max)
};

// With kKeep, the row holds exp(logit - max) afterwards.
template <bool kKeep, class L, class Real = compute_t<L>>
RowStatistics<Real> statistics_of(L* row, int64_t vocab) {
  using V = Vec<Real>;
  V largest(Real(-__builtin_inf()));
  sweep<V>(vocab,
           [&](int64_t i, auto width) { largest = max(largest, load_logits<V>(row + i, width)); });
  const V row_max(reduce_max(largest));
  V sum = V::zero();
  sweep<V>(vocab, [&](int64_t i, auto width) {
    const V e = exp(load_logits<V>(row + i, width) - row_max);
    if constexpr (kKeep) store(e, row + i, width);
    sum += e;
  });
  return {reduce_max(row_max), reduce_add(sum)};
}

// losses[r] and, if wanted, row r of dlogits. With kKeep the logits may be overwritten by their
// exponentials on the way, which dlogits then replace; else exponentials are computed twice.
template <bool kKeep, class L, class D>
void loss_of_row(const CrossEntropyRows<L, D>& p, int64_t r) {
  using Real = compute_t<L>;
  using V = Vec<Real>;
  L* row = p.logits + r * p.logits_stride;
  D* grad = p.dlogits ? p.dlogits + r * p.dlogits_stride : nullptr;
  const int32_t target = p.targets[r];
  if (target == p.ignore_index) {
    p.losses[r] = 0;
    if (grad) sweep<V>(p.vocab, [=](int64_t i, auto width) { store(V::zero(), grad + i, width); });
    return;
  }
  const Real target_logit = value_at(row + target);
  const auto [max, sum] = statistics_of<kKeep>(row, p.vocab);
  const Real log_sum = log_of(sum), lse = max + log_sum;
  p.losses[r] = (max - target_logit) + log_sum + p.z_loss * lse * lse;
  if (!grad) return;
  // d loss / d logit = softmax (1 + 2 z_loss lse) - [logit is the target's]
  const V factor(p.scale * (1 + 2 * p.z_loss * lse) / sum);
  const V target_grad =
      kKeep ? V(value_at(row + target)) * factor : exp(V(target_logit - max)) * factor;
  sweep<V>(p.vocab, [=, max = V(max)](int64_t i, auto width) {
    const V x = load<V>(row + i, width);
    store((kKeep ? x : exp(x - max)) * factor, grad + i, width);
  });
  (target_grad - V(p.scale)).store_first(grad + target, 1);
}

template <class L, class D>
void cross_entropy(int threads, const CrossEntropyRows<L, D>& p) {
  const bool in_place = static_cast<const void*>(p.dlogits) == p.logits;
  parallel_for(threads, p.rows, kGrain / p.vocab + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if constexpr (sizeof(L) == sizeof(compute_t<L>)) {
        if (in_place) {
          loss_of_row<true>(p, r);
          continue;
        }
      }
      loss_of_row<false>(p, r);
    }
  });
}

}  // namespace

template <>
void cross_entropy_cpu<TESSERA_ISA, float, float>(int threads,
                                                  const CrossEntropyRows<float, float>& args) {
  cross_entropy(threads, args);
}
template <>
void cross_entropy_cpu<TESSERA_ISA, float, bf16>(int threads,
                                                 const CrossEntropyRows<float, bf16>& args) {
  cross_entropy(threads, args);
}
template <>
void cross_entropy_cpu<TESSERA_ISA, bf16, bf16>(int threads,
                                                const CrossEntropyRows<bf16, bf16>& args) {
  cross_entropy(threads, args);
}
template <>
void cross_entropy_cpu<TESSERA_ISA, double, double>(int threads,
                                                    const CrossEntropyRows<double, double>& args) {
  cross_entropy(threads, args);
}

}  // namespace tessera
