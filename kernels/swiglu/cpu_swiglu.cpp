#include "kernels/elementwise/sweep.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/swiglu/cpu.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 4096;  // outputs that are worth waking a thread for

// For bf16, the exponent -x log2(e) needs no exact reduction: it errs by |x| roundoffs of f32.
template <class S, class V>
TESSERA_INLINE V sigmoid_for(V x) {
  if constexpr (sizeof(S) == 2) {
    const V one(1);
    return one / (one + exp2(x * V(-MathConstants<float>::kLog2E)));
  } else {
    return sigmoid(x);
  }
}

template <class S>
void forward(int threads, const S* gate_up, S* y, int64_t rows, int64_t width) {
  using V = Vec<compute_t<S>>;
  parallel_for(threads, rows, (kGrain + width - 1) / width, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const S *gate = gate_up + row * 2 * width, *up = gate + width;
      S* out = y + row * width;
      sweep<V>(width, [=](int64_t i, auto lanes) {
        const V g = load<V>(gate + i, lanes);
        store(g * sigmoid_for<S>(g) * load<V>(up + i, lanes), out + i, lanes);
      });
    }
  });
}

template <class S>
void backward(int threads, const S* gate_up, const S* dy, S* dgate_up, S* y, int64_t rows,
              int64_t width) {
  using V = Vec<compute_t<S>>;
  parallel_for(threads, rows, (kGrain + width - 1) / width, [=](int64_t begin, int64_t end) {
    const V one(1);
    for (int64_t row = begin; row < end; ++row) {
      const S *gate = gate_up + row * 2 * width, *up = gate + width, *d = dy + row * width;
      S *dgate = dgate_up + row * 2 * width, *dup = dgate + width, *out = y + row * width;
      sweep<V>(width, [=](int64_t i, auto lanes) {
        const V g = load<V>(gate + i, lanes), u = load<V>(up + i, lanes);
        const V grad = load<V>(d + i, lanes), s = sigmoid_for<S>(g), silu = g * s;
        store(grad * u * fma(silu, one - s, s), dgate + i, lanes);
        store(grad * silu, dup + i, lanes);
        store(silu * u, out + i, lanes);
      });
    }
  });
}

}  // namespace

template <>
SwigluCpu<float> swiglu_cpu<TESSERA_ISA, float>() {
  return {forward<float>, backward<float>};
}
template <>
SwigluCpu<bf16> swiglu_cpu<TESSERA_ISA, bf16>() {
  return {forward<bf16>, backward<bf16>};
}
template <>
SwigluCpu<double> swiglu_cpu<TESSERA_ISA, double>() {
  return {forward<double>, backward<double>};
}

}  // namespace tessera
