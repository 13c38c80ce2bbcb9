#include "kernels/elementwise/sweep.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/rope/cpu.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth waking a thread for

template <class S, class T>
TESSERA_INLINE void rotate_head(const S* x, S* y, const T* cos, const T* sin, T direction,
                                int64_t half) {
  using V = Vec<T>;
  sweep<V>(half, [=](int64_t j, auto width) {
    const V a = load<V>(x + j, width), b = load<V>(x + half + j, width);
    const V c = load<V>(cos + j, width), s = load<V>(sin + j, width) * V(direction);
    store(a * c - b * s, y + j, width);
    store(fma(b, c, a * s), y + half + j, width);
  });
}

template <class S>
void rotate(int threads, const RopeCpu<S>& a) {
  const int64_t grain = (kGrain + a.columns - 1) / a.columns;
  parallel_for(threads, a.rows, grain, [&](int64_t begin, int64_t end) {
    const int64_t rotated = a.heads * 2 * a.half;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t angles = a.positions[row] * a.half;
      const S* x = a.x + row * a.columns;
      S* y = a.y + row * a.columns;
      for (int64_t i = 0; i < rotated; i += 2 * a.half)
        rotate_head(x + i, y + i, a.cos + angles, a.sin + angles, a.direction, a.half);
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
