#include "kernels/elementwise/cpu.h"
#include "kernels/elementwise/sweep.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

constexpr int64_t kBlock = 1024;  // elements: threads begin at multiples, which keeps alignment

// Calls body(begin, count) with the parts of [0, n) that the threads work on.
template <class Body>
void parallel_ranges(int threads, int64_t n, const Body& body) {
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  parallel_for(threads, blocks, kElementwiseGrain / kBlock, [&](int64_t first, int64_t last) {
    const int64_t begin = first * kBlock, end = last == blocks ? n : last * kBlock;
    body(begin, end - begin);
  });
}

template <class To, class From>
void add(int threads, To* sum, const To* a, const From* b, int64_t n) {
  using V = Vec<compute_t<To>>;
  parallel_ranges(threads, n, [=](int64_t begin, int64_t count) {
    sweep<V>(count, [=](int64_t i, auto width) {
      i += begin;
      store(load<V>(a + i, width) + load<V>(b + i, width), sum + i, width);
    });
  });
}

void add_bf16_into(int threads, float* into, const bf16* from, int64_t n) {
  add(threads, into, into, from, n);
}

template <class S>
void scale(int threads, S* x, double factor, int64_t n) {
  using V = Vec<compute_t<S>>;
  parallel_ranges(threads, n, [=](int64_t begin, int64_t count) {
    const V f{compute_t<S>(factor)};
    sweep<V>(count, [=](int64_t i, auto width) {
      store(load<V>(x + begin + i, width) * f, x + begin + i, width);
    });
  });
}

template <class S>
bool all_finite(int threads, const S* x, int64_t n) {
  using V = Vec<compute_t<S>>;
  bool finite = true;
  parallel_ranges(threads, n, [=, &finite](int64_t begin, int64_t count) {
    // x * 0 is NaN where x is infinite or NaN, and so is the sum then.
    const auto zero = sweep_sum<V>(count, [=](int64_t i, auto width, V& sum) {
      sum = fma(load<V>(x + begin + i, width), V::zero(), sum);
    });
    if (!(zero == 0)) __atomic_store_n(&finite, false, __ATOMIC_RELAXED);
  });
  return finite;
}

template <class To, class From>
void convert(int threads, const ConvertRows<To, From>& a) {
  using V = Vec<float>;
  const int64_t grain = (kElementwiseGrain + a.columns - 1) / a.columns;
  parallel_for(threads, a.rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const From* from = a.from + row * a.from_stride;
      To* to = a.to + row * a.to_stride;
      sweep<V>(a.columns,
               [=](int64_t i, auto width) { store(load<V>(from + i, width), to + i, width); });
    }
  });
}

}  // namespace

template <>
ElementwiseCpu<float> elementwise_cpu<TESSERA_ISA, float>() {
  return {add<float, float>, scale<float>, all_finite<float>};
}
template <>
ElementwiseCpu<bf16> elementwise_cpu<TESSERA_ISA, bf16>() {
  return {add<bf16, bf16>, scale<bf16>, all_finite<bf16>};
}
template <>
ElementwiseCpu<double> elementwise_cpu<TESSERA_ISA, double>() {
  return {add<double, double>, scale<double>, all_finite<double>};
}
template <>
ElementwiseMixedCpu elementwise_mixed_cpu<TESSERA_ISA>() {
  return {add_bf16_into, convert<float, bf16>, convert<bf16, float>};
}

}  // namespace tessera
