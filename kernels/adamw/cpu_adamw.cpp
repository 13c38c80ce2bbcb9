#include "kernels/adamw/cpu.h"
#include "kernels/adamw/rounding.h"
#include "kernels/elementwise/sweep.h"
#include "kernels/launch/cpu/philox.h"

namespace tessera {
namespace {

constexpr int count_of(Whole) {
  return Vec<float>::kLanes;
}
constexpr int count_of(int lanes) {
  return lanes;
}

// Elements `element` .. of the parameter.
template <class Width>
TESSERA_INLINE void store_stochastically(Vec<float> x, bf16* to, const PhiloxKey& key,
                                         int64_t element, Width width) {
  constexpr int kLanes = Vec<float>::kLanes;
  float values[kLanes];
  uint32_t bits[kLanes], random[kLanes];
  bf16 rounded[kLanes];
  x.store(values);
  std::memcpy(bits, values, sizeof(bits));
  philox_words<kLanes / 4>(key, uint64_t(element) / 4, random);
  for (int i = 0; i < kLanes; ++i) rounded[i].bits = round_stochastically(bits[i], random[i]);
  std::memcpy(to, rounded, size_t(count_of(width)) * sizeof(bf16));
}

// What is stored of a parameter.
enum class Stores { master, master_and_copy, rounded };

template <class T, Stores kStores>
void update(const AdamWFactors<T>& factors, const AdamWBlock<T>& block) {
  using V = Vec<T>;
  const AdamWFactors<T> f = factors;
  const AdamWBlock<T> b = block;
  sweep<V>(b.count, [=](int64_t i, auto width) {
    const V g = load<V>(b.grad + i, width) * V(f.grad_scale);
    const V m = fma(load<V>(b.m + i, width), V(f.beta1), g * V(f.one_minus_beta1));
    const V v = fma(load<V>(b.v + i, width), V(f.beta2), g * g * V(f.one_minus_beta2));
    const V update = m / fma(sqrt(v), V(f.root_scale), V(f.eps));
    const V before = [&] {
      if constexpr (kStores == Stores::rounded)
        return load<V>(b.low + i, width);
      else
        return load<V>(b.param + i, width);
    }();
    const V param = fma(V(-f.rate), update, before * V(b.keep));
    store(m, b.m + i, width);
    store(v, b.v + i, width);
    if constexpr (kStores == Stores::rounded) {
      store_stochastically(param, b.low + i, {f.seed, b.purpose, f.step}, b.first + i, width);
    } else {
      store(param, b.param + i, width);
    }
    if constexpr (kStores == Stores::master_and_copy) store(param, b.low + i, width);
  });
}

}  // namespace

template <>
void adamw_cpu<TESSERA_ISA, float>(const AdamWFactors<float>& f, const AdamWBlock<float>& block) {
  if (!block.param) return update<float, Stores::rounded>(f, block);
  if (!block.low) return update<float, Stores::master>(f, block);
  update<float, Stores::master_and_copy>(f, block);
}
template <>
void adamw_cpu<TESSERA_ISA, double>(const AdamWFactors<double>& f,
                                    const AdamWBlock<double>& block) {
  update<double, Stores::master>(f, block);
}

}  // namespace tessera
