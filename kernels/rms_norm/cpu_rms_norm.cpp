#include "kernels/elementwise/sweep.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/rms_norm/cpu.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth waking a thread for

struct Position {
  int64_t row, head;
};
TESSERA_INLINE Position after(Position at, int64_t heads) {
  return at.head + 1 < heads ? Position{at.row, at.head + 1} : Position{at.row + 1, 0};
}

template <class S>
TESSERA_INLINE S* head_of(const HeadRows<S>& a, Position at) {
  return a.data ? a.data + at.row * a.row_stride + at.head * a.head_stride : nullptr;
}

TESSERA_INLINE float square_root(float x) {
  return __builtin_sqrtf(x);
}
TESSERA_INLINE double square_root(double x) {
  return __builtin_sqrt(x);
}

// Stores x + residual in `sum`; returns the sum of squares of what was stored.
template <class S>
TESSERA_INLINE compute_t<S> add_and_square(const S* x, const S* residual, S* sum, int64_t n) {
  using V = Vec<compute_t<S>>;
  return sweep_sum<V>(n, [=](int64_t i, auto width, V& squares) {
    V v = load<V>(x + i, width) + load<V>(residual + i, width);
    store(v, sum + i, width);
    if constexpr (sizeof(S) == 2) v = load<V>(sum + i, width);  // as backward will see it
    squares = fma(v, v, squares);
  });
}

template <class S>
TESSERA_INLINE compute_t<S> sum_of_squares(const S* x, int64_t n) {
  using V = Vec<compute_t<S>>;
  return sweep_sum<V>(n, [=](int64_t i, auto width, V& squares) {
    const V v = load<V>(x + i, width);
    squares = fma(v, v, squares);
  });
}

// y = x * rstd * weight
template <class S, class T>
TESSERA_INLINE void write_y(const S* x, const T* weight, T rstd, S* y, int64_t n) {
  using V = Vec<T>;
  sweep<V>(n, [=](int64_t i, auto width) {
    store(load<V>(x + i, width) * V(rstd) * load<V>(weight + i, width), y + i, width);
  });
}

template <class S>
void forward(int threads, const RmsNormForwardData<S>& a) {
  using T = compute_t<S>;
  const auto [rows, heads, columns] = a.size;
  const int64_t n = columns, grain = (kGrain + heads * columns - 1) / (heads * columns);
  parallel_for(threads, rows, grain, [&, heads = heads](int64_t begin, int64_t end) {
    for (Position at{begin, 0}; at.row < end; at = after(at, heads)) {
      const S *x = head_of(a.x, at), *residual = head_of(a.residual, at);
      T squares;
      if (residual) {
        S* sum = head_of(a.sum, at);
        squares = add_and_square(x, residual, sum, n);
        x = sum;
      } else {
        squares = sum_of_squares(x, n);
      }
      const T rstd = T(1) / square_root(squares / T(n) + T(a.eps));
      if (a.rstd) a.rstd[at.row * heads + at.head] = rstd;
      write_y(x, a.weight, rstd, head_of(a.y, at), n);
    }
  });
}

// Adds dy * x * rstd to dweight; returns the sum of dy * weight * x.
template <class S, class T>
TESSERA_INLINE T project(const S* x, const S* dy, const T* weight, T rstd, T* dweight, int64_t n) {
  using V = Vec<T>;
  return sweep_sum<V>(n, [=](int64_t i, auto width, V& dot) {
    const V product = load<V>(x + i, width) * load<V>(dy + i, width);
    dot = fma(product, load<V>(weight + i, width), dot);
    store(fma(product, V(rstd), load<V>(dweight + i, width)), dweight + i, width);
  });
}

// dx = rstd * dy * weight - slope * x + dsum
template <bool kSum, class S, class T>
TESSERA_INLINE void write_dx(const S* x, const S* dy, const T* weight, const S* dsum, T rstd,
                             T slope, S* dx, int64_t n) {
  using V = Vec<T>;
  sweep<V>(n, [=](int64_t i, auto width) {
    const V g = load<V>(dy + i, width) * load<V>(weight + i, width);
    V v = fma(g, V(rstd), load<V>(x + i, width) * V(-slope));
    if constexpr (kSum) v = v + load<V>(dsum + i, width);
    store(v, dx + i, width);
  });
}

template <class S>
TESSERA_INLINE void backward_chunk(const RmsNormBackwardData<S>& a, int64_t begin, int64_t end,
                                   compute_t<S>* dweight) {
  using T = compute_t<S>;
  const int64_t heads = a.size.heads, n = a.size.columns;
  for (int64_t i = 0; i < n; ++i) dweight[i] = 0;
  for (Position at{begin, 0}; at.row < end; at = after(at, heads)) {
    const S *x = head_of(a.x, at), *dy = head_of(a.dy, at), *dsum = head_of(a.dsum, at);
    S *dx = head_of(a.dx, at), *y = head_of(a.y, at);
    const T rstd = a.rstd[at.row * heads + at.head];
    const T slope = project(x, dy, a.weight, rstd, dweight, n) * rstd * rstd * rstd / T(n);
    if (dx && dsum) {
      write_dx<true>(x, dy, a.weight, dsum, rstd, slope, dx, n);
    } else if (dx) {
      write_dx<false>(x, dy, a.weight, dsum, rstd, slope, dx, n);
    }
    if (y) write_y(x, a.weight, rstd, y, n);
  }
}

template <class S>
void backward(int threads, const RmsNormBackwardData<S>& a) {
  using T = compute_t<S>;
  using V = Vec<T>;
  const int64_t rows = a.size.rows, n = a.size.columns, step = a.rows_per_chunk;
  const int64_t chunks = (rows + step - 1) / step, elements = step * a.size.heads * n;
  parallel_for(
      threads, chunks, (kGrain + elements - 1) / elements, [&](int64_t first, int64_t last) {
        for (int64_t chunk = first; chunk < last; ++chunk) {
          const int64_t begin = chunk * step, end = begin + step < rows ? begin + step : rows;
          backward_chunk(a, begin, end, a.partials + chunk * n);
        }
      });
  if (!a.dweight) return;
  const int64_t blocks = (n + V::kLanes - 1) / V::kLanes;
  parallel_for(threads, blocks, 1 + kGrain / (V::kLanes * (chunks + 1)),
               [&](int64_t first, int64_t last) {
                 for (int64_t i = first * V::kLanes; i < last * V::kLanes; i += V::kLanes) {
                   const int lanes = lanes_left<V>(n - i);
                   V sum = a.accumulate_dweight ? V::load_first(a.dweight + i, lanes) : V::zero();
                   for (int64_t chunk = 0; chunk < chunks; ++chunk)
                     sum = sum + V::load_first(a.partials + chunk * n + i, lanes);
                   sum.store_first(a.dweight + i, lanes);
                 }
               });
}

}  // namespace

template <>
RmsNormCpu<float> rms_norm_cpu<TESSERA_ISA, float>() {
  return {forward<float>, backward<float>};
}
template <>
RmsNormCpu<bf16> rms_norm_cpu<TESSERA_ISA, bf16>() {
  return {forward<bf16>, backward<bf16>};
}
template <>
RmsNormCpu<double> rms_norm_cpu<TESSERA_ISA, double>() {
  return {forward<double>, backward<double>};
}

}  // namespace tessera
