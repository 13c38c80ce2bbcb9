// RMSNorm on GPUs. A line is one head of one row; kGroup threads, a warp or the whole block, work
// on a line, and each of them moves kWidth adjacent columns at a time: 16 bytes where pointers and
// strides allow, else one element.
//   lane        0        1     ...    31  |   0 ...
//   columns   0..7     8..15   ... 248..255 | 256..        (bf16, kGroup = 32, kWidth = 8)
// Lines are read twice, the second time from the caches.
#include "kernels/elementwise/gpu_lanes.h"
#include "kernels/launch/gpu/reduce.h"
#include "kernels/rms_norm/gpu.h"

namespace tessera {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kWarpColumns = 1024;  // up to here a warp is enough for a line

template <class S>
__device__ inline S* line_of(const HeadRows<S>& rows, const RmsNormSizes& size, int64_t line) {
  if (!rows.data) return nullptr;
  return rows.data + line / size.heads * rows.row_stride + line % size.heads * rows.head_stride;
}

template <int kGroup, class T>
__device__ inline T group_sum(T v) {
  if constexpr (kGroup == gpu::kWarpSize) {
    return gpu::warp_sum(v);
  } else {
    return gpu::block_sum<kThreads>(v);
  }
}

// Adds the residual, if there is one, into `sum`; returns the thread's part of the sum of squares.
template <int kGroup, int kWidth, class S>
__device__ inline gpu::Wide<S> add_and_square(const S* x, const S* residual, S* sum,
                                              int64_t columns, int member) {
  gpu::Wide<S> squares = 0;
  for (int64_t c = member * kWidth; c < columns; c += kGroup * kWidth) {
    auto v = load(x + c, Count<kWidth>{});
    if (residual) {
      const auto r = load(residual + c, Count<kWidth>{});
      gpu::Vector<S, kWidth> stored;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        stored.v[i] = gpu::narrow<S>(v.v[i] + r.v[i]);
        v.v[i] = gpu::widen(stored.v[i]);  // as backward will see it
      }
      gpu::store_global(sum + c, stored);
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) squares = gpu::fma(v.v[i], v.v[i], squares);
  }
  return squares;
}

// Grid: a block for every kThreads / kGroup lines.
template <class S, int kGroup, int kWidth>
__global__ void __launch_bounds__(kThreads) forward_kernel(RmsNormForwardData<S> a) {
  using T = gpu::Wide<S>;
  const int thread = int(gpu::thread_index().x), member = thread % kGroup;
  const int64_t columns = a.size.columns;
  const int64_t line = int64_t(gpu::block_index().x) * (kThreads / kGroup) + thread / kGroup;
  if (line >= a.size.rows * a.size.heads) return;
  const S *x = line_of(a.x, a.size, line), *residual = line_of(a.residual, a.size, line);
  S *sum = line_of(a.sum, a.size, line), *y = line_of(a.y, a.size, line);

  const T squares =
      group_sum<kGroup>(add_and_square<kGroup, kWidth>(x, residual, sum, columns, member));
  const T rstd = T(1) / std::sqrt(squares / T(columns) + T(a.eps));
  if (a.rstd && member == 0) a.rstd[line] = rstd;
  const S* normalised = residual ? sum : x;
  for (int64_t c = member * kWidth; c < columns; c += kGroup * kWidth) {
    const auto v = load(normalised + c, Count<kWidth>{}), w = load(a.weight + c, Count<kWidth>{});
    Lanes<T, kWidth> out;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) out.v[i] = v.v[i] * rstd * w.v[i];
    store(y + c, out);
  }
}

// Adds dy * x * rstd to `sums` [columns], if it is there; returns the thread's part of the sum of
// dy * weight * x.
template <int kGroup, int kWidth, class S, class T>
__device__ inline T project(const S* x, const S* dy, const T* weight, T rstd, T* sums,
                            int64_t columns, int member) {
  T dot = 0;
  for (int64_t c = member * kWidth; c < columns; c += kGroup * kWidth) {
    const auto v = load(x + c, Count<kWidth>{}), g = load(dy + c, Count<kWidth>{});
    const auto w = load(weight + c, Count<kWidth>{});
#pragma unroll
    for (int i = 0; i < kWidth; ++i) dot = gpu::fma(v.v[i] * g.v[i], w.v[i], dot);
    if (!sums) continue;
    auto sum = gpu::load_vector<T, kWidth>(sums + c);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum.v[i] = gpu::fma(v.v[i] * g.v[i], rstd, sum.v[i]);
    gpu::store_vector(sums + c, sum);
  }
  return dot;
}

// dx = rstd * dy * weight - slope * x + dsum,  y = x * rstd * weight, each where it is wanted; dx
// may be dy or dsum, y may be dy.
template <int kGroup, int kWidth, class S, class T>
__device__ inline void write_results(const S* x, const S* dy, const S* dsum, const T* weight,
                                     T rstd, T slope, S* dx, S* y, int64_t columns, int member) {
  for (int64_t c = member * kWidth; c < columns; c += kGroup * kWidth) {
    const auto v = load(x + c, Count<kWidth>{}), g = load(dy + c, Count<kWidth>{});
    const auto w = load(weight + c, Count<kWidth>{});
    Lanes<T, kWidth> more{}, out, normed;
    if (dsum) more = load(dsum + c, Count<kWidth>{});
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      out.v[i] = gpu::fma(g.v[i] * w.v[i], rstd, gpu::fma(v.v[i], -slope, more.v[i]));
      normed.v[i] = v.v[i] * rstd * w.v[i];
    }
    if (dx) store(dx + c, out);
    if (y) store(y + c, normed);
  }
}

// Grid: a block for every chunk of rows. Each group keeps the dweight of its lines in shared
// memory, [kThreads / kGroup, columns]; the block writes their sum to its row of `partials`.
template <class S, int kGroup, int kWidth>
__global__ void __launch_bounds__(kThreads) backward_kernel(RmsNormBackwardData<S> a) {
  using T = gpu::Wide<S>;
  constexpr int kGroups = kThreads / kGroup;
  const int thread = int(gpu::thread_index().x), member = thread % kGroup, group = thread / kGroup;
  const int64_t columns = a.size.columns, chunk = gpu::block_index().x;
  const int64_t lines = a.size.rows * a.size.heads, step = a.rows_per_chunk * a.size.heads;
  const int64_t begin = chunk * step, end = gpu::min(begin + step, lines);
  T* const all_sums = a.dweight ? reinterpret_cast<T*>(gpu::dynamic_shared()) : nullptr;
  T* const sums = all_sums ? all_sums + group * columns : nullptr;

  for (int64_t c = member * kWidth; sums && c < columns; c += kGroup * kWidth)
    gpu::store_vector(sums + c, gpu::Vector<T, kWidth>{});
  for (int64_t line = begin + group; line < end; line += kGroups) {
    const S *x = line_of(a.x, a.size, line), *dy = line_of(a.dy, a.size, line);
    const S* dsum = line_of(a.dsum, a.size, line);
    const T rstd = a.rstd[line];
    const T dot =
        group_sum<kGroup>(project<kGroup, kWidth>(x, dy, a.weight, rstd, sums, columns, member));
    if (!a.dx.data && !a.y.data) continue;
    write_results<kGroup, kWidth>(
        x, dy, dsum, a.weight, rstd, dot * rstd * rstd * rstd / T(columns),
        line_of(a.dx, a.size, line), line_of(a.y, a.size, line), columns, member);
  }
  if (!all_sums) return;
  gpu::sync_block();
  for (int64_t c = thread; c < columns; c += kThreads) {
    T sum = 0;
    for (int g = 0; g < kGroups; ++g) sum += all_sums[g * columns + c];
    a.partials[chunk * columns + c] = sum;
  }
}

// dweight (+)= the sum over chunks of partials [chunks, columns]. Grid: a block for every 32
// columns; warp w adds chunks w, w + 8, ...
template <class T>
__global__ void __launch_bounds__(kThreads)
    sum_partials_kernel(const T* partials, int64_t chunks, int64_t columns, bool accumulate,
                        T* dweight) {
  constexpr int kWarps = kThreads / gpu::kWarpSize;
  const int lane = gpu::lane(), warp = gpu::warp();
  const int64_t column = int64_t(gpu::block_index().x) * gpu::kWarpSize + lane;
  T sum = 0;
  for (int64_t chunk = warp; column < columns && chunk < chunks; chunk += kWarps)
    sum += partials[chunk * columns + column];
  T* const sums = gpu::shared_array<T, kThreads>();
  sums[warp * gpu::kWarpSize + lane] = sum;
  gpu::sync_block();
  if (warp != 0 || column >= columns) return;
  T total = accumulate ? dweight[column] : T(0);
  for (int w = 0; w < kWarps; ++w) total += sums[w * gpu::kWarpSize + lane];
  dweight[column] = total;
}

template <class S>
bool allows_vectors(const HeadRows<S>& rows) {
  return !rows.data || (are_aligned({rows.data}) && rows.row_stride % kLanesOf<S> == 0 &&
                        rows.head_stride % kLanesOf<S> == 0);
}

// Calls f.template operator()<kGroup, kWidth>() with the way of sharing work that suits. f64, which
// is for tests, has no vectors.
template <class S, class F>
void choose_kernel(int64_t columns, bool allows_vectors, F f) {
  constexpr int kWidth = std::is_same_v<S, double> ? 1 : kLanesOf<S>;
  const bool vectors = allows_vectors && columns % kWidth == 0, warps = columns <= kWarpColumns;
  if (vectors && warps) return f.template operator()<gpu::kWarpSize, kWidth>();
  if (vectors) return f.template operator()<kThreads, kWidth>();
  if (warps) return f.template operator()<gpu::kWarpSize, 1>();
  f.template operator()<kThreads, 1>();
}

template <class S>
void forward(Context& ctx, const RmsNormForwardData<S>& a) {
  const bool vectors = allows_vectors(a.x) && allows_vectors(a.residual) && allows_vectors(a.sum) &&
                       allows_vectors(a.y) && are_aligned({a.weight});
  const int64_t lines = a.size.rows * a.size.heads;
  choose_kernel<S>(a.size.columns, vectors, [&]<int kGroup, int kWidth>() {
    gpu::launch(ctx, forward_kernel<S, kGroup, kWidth>,
                {.x = gpu::blocks_for(lines, kThreads / kGroup), .threads = kThreads}, a);
  });
}

template <class S>
void backward(Context& ctx, const RmsNormBackwardData<S>& a) {
  using T = gpu::Wide<S>;
  const bool vectors = allows_vectors(a.x) && allows_vectors(a.dy) && allows_vectors(a.dsum) &&
                       allows_vectors(a.dx) && allows_vectors(a.y) && are_aligned({a.weight});
  const int64_t columns = a.size.columns;
  const unsigned chunks = gpu::blocks_for(a.size.rows, a.rows_per_chunk);
  choose_kernel<S>(columns, vectors, [&]<int kGroup, int kWidth>() {
    if (chunks == 0) return;
    const int64_t sums = a.dweight ? kThreads / kGroup * columns : 0;
    gpu::launch(ctx, backward_kernel<S, kGroup, kWidth>,
                {.x = chunks, .threads = kThreads, .shared_bytes = int(sums * int64_t(sizeof(T)))},
                a);
  });
  if (!a.dweight) return;
  gpu::launch(ctx, sum_partials_kernel<T>,
              {.x = gpu::blocks_for(columns, gpu::kWarpSize), .threads = kThreads}, a.partials,
              int64_t(chunks), columns, a.accumulate_dweight, a.dweight);
}

}  // namespace

template <>
RmsNormGpu<float> rms_norm_gpu<TESSERA_GPU_DEVICE, float>() {
  return {forward<float>, backward<float>};
}
template <>
RmsNormGpu<bf16> rms_norm_gpu<TESSERA_GPU_DEVICE, bf16>() {
  return {forward<bf16>, backward<bf16>};
}
template <>
RmsNormGpu<double> rms_norm_gpu<TESSERA_GPU_DEVICE, double>() {
  return {forward<double>, backward<double>};
}

}  // namespace tessera
