#include "kernels/launch/cpu/simd.h"
#include "kernels/reduce/cpu.h"

namespace tessera {
namespace {

constexpr int64_t kLanes = 32;  // running sums: enough to hide the latency of adds

TESSERA_INLINE double widened(double x) {
  return x;
}
TESSERA_INLINE double widened(float x) {
  return x;
}
TESSERA_INLINE double widened(bf16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof(wide));
  return wide;
}

// Plain code, which the compiler turns into vectors; squares of f32 and bf16 are exact in f64.
template <class S>
double squares(const S* x, int64_t count) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = widened(x[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (int64_t lane = 0; i < count; ++i, ++lane) lanes[lane] += widened(x[i]) * widened(x[i]);
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

template <>
double squares_cpu<TESSERA_ISA, float>(const float* x, int64_t count) {
  return squares(x, count);
}
template <>
double squares_cpu<TESSERA_ISA, bf16>(const bf16* x, int64_t count) {
  return squares(x, count);
}
template <>
double squares_cpu<TESSERA_ISA, double>(const double* x, int64_t count) {
  return squares(x, count);
}

}  // namespace tessera
