#include "tests/kernels/simd_functions.h"

#include "kernels/launch/cpu/simd.h"

namespace tessera::test {
namespace {

template <class T>
Vec<T> apply(SimdFunction function, Vec<T> x) {
  switch (function) {
    case SimdFunction::exp2:
      return exp2(x);
    case SimdFunction::exp:
      return exp(x);
    case SimdFunction::log:
      return log(x);
    case SimdFunction::sigmoid:
      return sigmoid(x);
    case SimdFunction::tanh:
      return tanh(x);
  }
  return x;
}

template <class T>
void map(SimdFunction function, const T* x, T* y, int64_t n) {
  using V = Vec<T>;
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int lanes = lanes_left<V>(n - i);
    apply(function, V::load_first(x + i, lanes)).store_first(y + i, lanes);
  }
}

template <class From, class To>
void convert(const From* x, To* y, int64_t n) {
  using V = Vec<float>;
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) V::load(x + i).store(y + i);
  V::load_first(x + i, int(n - i)).store_first(y + i, int(n - i));
}

template <class T>
T add(const T* x) {
  return reduce_add(Vec<T>::load(x));
}
template <class T>
T largest(const T* x) {
  return reduce_max(Vec<T>::load(x));
}

}  // namespace

template <>
SimdFunctions simd_functions<TESSERA_ISA>() {
  return {.map_f32 = map<float>,
          .map_f64 = map<double>,
          .to_bf16 = convert<float, bf16>,
          .from_bf16 = convert<bf16, float>,
          .to_f16 = convert<float, f16>,
          .from_f16 = convert<f16, float>,
          .lanes_f32 = Vec<float>::kLanes,
          .lanes_f64 = Vec<double>::kLanes,
          .add_f32 = add<float>,
          .max_f32 = largest<float>,
          .add_f64 = add<double>,
          .max_f64 = largest<double>};
}

}  // namespace tessera::test
