#include "kernels/adamw/cpu.h"
#include "kernels/elementwise/sweep.h"

namespace tessera {
namespace {

template <class T, bool kLow>
void update(const AdamWFactors<T>& factors, const AdamWBlock<T>& block) {
  using V = Vec<T>;
  const AdamWFactors<T> f = factors;
  const AdamWBlock<T> b = block;
  sweep<V>(b.count, [=](int64_t i, auto width) {
    const V g = load<V>(b.grad + i, width) * V(f.grad_scale);
    const V m = fma(load<V>(b.m + i, width), V(f.beta1), g * V(f.one_minus_beta1));
    const V v = fma(load<V>(b.v + i, width), V(f.beta2), g * g * V(f.one_minus_beta2));
    const V update = m / fma(sqrt(v), V(f.root_scale), V(f.eps));
    const V param = fma(V(-f.rate), update, load<V>(b.param + i, width) * V(b.keep));
    store(m, b.m + i, width);
    store(v, b.v + i, width);
    store(param, b.param + i, width);
    if constexpr (kLow) store(param, b.low + i, width);
  });
}

}  // namespace

template <>
void adamw_cpu<TESSERA_ISA, float>(const AdamWFactors<float>& f, const AdamWBlock<float>& block) {
  block.low ? update<float, true>(f, block) : update<float, false>(f, block);
}
template <>
void adamw_cpu<TESSERA_ISA, double>(const AdamWFactors<double>& f,
                                    const AdamWBlock<double>& block) {
  update<double, false>(f, block);
}

}  // namespace tessera
