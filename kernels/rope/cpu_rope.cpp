#include "kernels/elementwise/sweep.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/rope/cpu.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth waking a thread for

// Rotates one row of `heads` heads.
template <class S, class T>
TESSERA_INLINE void rotate_row(const S* x, S* y, const T* cos, const T* sin, T direction,
                               int64_t heads, int64_t half) {
  using V = Vec<T>;
  for (int64_t head = 0; head < heads; ++head, x += 2 * half, y += 2 * half) {
    sweep<V>(half, [=](int64_t j, auto width) {
      const V a = load<V>(x + j, width), b = load<V>(x + half + j, width);
      const V c = load<V>(cos + j, width), s = load<V>(sin + j, width) * V(direction);
      store(a * c - b * s, y + j, width);
      store(fma(b, c, a * s), y + half + j, width);
    });
  }
}

// The same for half = kVectors * kLanes: the angles stay in registers.
template <int kVectors, class S, class T>
TESSERA_INLINE void rotate_row_in_registers(const S* x, S* y, const T* cos, const T* sin,
                                            T direction, int64_t heads) {
  using V = Vec<T>;
  constexpr int64_t kHalf = kVectors * V::kLanes;
  V c[kVectors], s[kVectors];
  for (int k = 0; k < kVectors; ++k) {
    c[k] = V::load(cos + k * V::kLanes);
    s[k] = V::load(sin + k * V::kLanes) * V(direction);
  }
  for (int64_t head = 0; head < heads; ++head, x += 2 * kHalf, y += 2 * kHalf) {
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) {
      const int64_t j = k * V::kLanes;
      const V a = V::load(x + j), b = V::load(x + kHalf + j);
      (a * c[k] - b * s[k]).store(y + j);
      fma(b, c[k], a * s[k]).store(y + kHalf + j);
    }
  }
}

template <class S>
void rotate(int threads, const RopeCpu<S>& a) {
  constexpr int64_t kLanes = Vec<compute_t<S>>::kLanes;
  const int64_t grain = (kGrain + a.columns - 1) / a.columns;
  parallel_for(threads, a.rows, grain, [&](int64_t begin, int64_t end) {
    const int64_t rotated = a.heads * 2 * a.half;
    for (int64_t row = begin; row < end; ++row) {
      const S* x = a.x + row * a.columns;
      S* y = a.y + row * a.columns;
      const auto *cos = a.cos + a.positions[row] * a.half, *sin = a.sin + a.positions[row] * a.half;
      if (a.half == 2 * kLanes) {
        rotate_row_in_registers<2>(x, y, cos, sin, a.direction, a.heads);
      } else if (a.half == 4 * kLanes) {
        rotate_row_in_registers<4>(x, y, cos, sin, a.direction, a.heads);
      } else {
        rotate_row(x, y, cos, sin, a.direction, a.heads, a.half);
      }
      if (x != y) std::memcpy(y + rotated, x + rotated, size_t(a.columns - rotated) * sizeof(S));
    }
  });
}

}  // namespace

template <>
RopeLoop<float> rope_cpu<TESSERA_ISA, float>() {
  return rotate<float>;
}
template <>
RopeLoop<bf16> rope_cpu<TESSERA_ISA, bf16>() {
  return rotate<bf16>;
}
template <>
RopeLoop<double> rope_cpu<TESSERA_ISA, double>() {
  return rotate<double>;
}

}  // namespace tessera
