// Softmax cross-entropy: a block a row. One pass over the row finds maximum and sum of exponentials
// together (Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018); the second
// writes the gradient. Bytes a logit at least: 4 in, 2 out for f32 to bf16; the second reading
// comes from L2 as far as the rows at work fit there. The first pass goes from the row's end to its
// beginning, so that the second begins with what was read last.
#include <cmath>
#include <limits>

#include "kernels/cross_entropy/gpu.h"
#include "kernels/elementwise/gpu_lanes.h"
#include "kernels/launch/gpu/reduce.h"

namespace tessera {
namespace {

constexpr int kGroups = 4;  // that a thread has in flight

// Threads a row: enough rows at work to hide each other's starts, few enough for a 50 MiB L2. With
// kThreads an H200 has 528 rows of f32 at work, which are 68 MB at 32000 logits, with kManyThreads
// half as many; registers allow 264 rows of bf16.
constexpr int kFewThreads = 128, kThreads = 512, kManyThreads = 1024;
constexpr int64_t kSmallVocab = 8192;
template <class L>
constexpr int64_t kLargeVocab = sizeof(L) == 2 ? 65536 : 24576;

template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();

__device__ inline float exp_of(float x) {
  return gpu::exp2_approx(x * 1.44269504f);  // errs by |x| roundoffs of a value of e^x
}
__device__ inline double exp_of(double x) {
  return std::exp(x);
}

// Of some logits: sum is that of exp(logit - max), or of exp(logit) while all are -infinity.
template <class Real>
struct Statistics {
  Real max, sum;
};

template <class Real>
__device__ inline Real rescaling(Real from, Real to) {
  return from == to ? Real(1) : exp_of(from - to);
}

template <class Real>
__device__ inline Statistics<Real> merge(Statistics<Real> a, Statistics<Real> b) {
  const Real max = gpu::max(a.max, b.max);
  return {max, a.sum * rescaling(a.max, max) + b.sum * rescaling(b.max, max)};
}

template <class Real>
__device__ inline Statistics<Real> warp_merge(Statistics<Real> s) {
#pragma unroll
  for (int mask = gpu::kWarpSize / 2; mask > 0; mask /= 2)
    s = merge(s, {gpu::shuffle_xor(s.max, mask), gpu::shuffle_xor(s.sum, mask)});
  return s;
}

// Every thread gets the same bits: those of lane 0.
template <int kBlock, class Real>
__device__ inline Statistics<Real> block_merge(Statistics<Real> s) {
  struct Max;
  struct Sum;
  s = warp_merge(s);
  s = warp_merge<Real>({gpu::gather_warps<kBlock, Max>(s.max, -kInfinity<Real>),
                        gpu::gather_warps<kBlock, Sum>(s.sum, Real(0))});
  return {gpu::shuffle(s.max, 0), gpu::shuffle(s.sum, 0)};
}

// Logits i .. i + N - 1 of a row of `vocab`; -infinity beyond it.
template <int N, class L>
__device__ inline Lanes<gpu::Wide<L>, N> load_logits(const L* row, int64_t i, int64_t vocab) {
  if (i + N <= vocab) return load(row + i, Count<N>{});
  Lanes<gpu::Wide<L>, N> x;
#pragma unroll
  for (int k = 0; k < N; ++k)
    x.v[k] = i + k < vocab ? gpu::widen(row[i + k]) : -kInfinity<gpu::Wide<L>>;
  return x;
}

template <int N, class D>
__device__ inline void store_gradient(D* row, int64_t i, int64_t vocab,
                                      const Lanes<gpu::Wide<D>, N>& x) {
  if (i + N <= vocab) return store(row + i, x);
#pragma unroll
  for (int k = 0; k < N; ++k)
    if (i + k < vocab) row[i + k] = gpu::narrow<D>(x.v[k]);
}

// A thread's groups of a tile of kBlock * N * kGroups logits.
template <int kBlock, int N>
struct Tile {
  static constexpr int64_t kLogits = int64_t{kBlock} * N * kGroups;

  int64_t first;
  __device__ explicit Tile(int64_t number)
      : first(number * kLogits + int64_t(gpu::thread_index().x) * N) {}
  // The first logit of group g.
  __device__ int64_t logit(int g) const { return first + int64_t{g} * kBlock * N; }
};

template <int kBlock, int N, class L, class Real = gpu::Wide<L>>
__device__ inline Statistics<Real> statistics_of(const L* row, int64_t vocab, int64_t tiles) {
  Statistics<Real> s{-kInfinity<Real>, 0};
  for (int64_t number = tiles - 1; number >= 0; --number) {
    const Tile<kBlock, N> tile(number);
    Lanes<Real, N> x[kGroups];
#pragma unroll
    for (int g = 0; g < kGroups; ++g) x[g] = load_logits<N>(row, tile.logit(g), vocab);
    Real max = s.max;
#pragma unroll
    for (int i = 0; i < kGroups * N; ++i) max = gpu::max(max, x[i / N].v[i % N]);
    const Real shift = max == -kInfinity<Real> ? Real(0) : max;
    s = {max, s.sum * rescaling(s.max, max)};
#pragma unroll
    for (int i = 0; i < kGroups * N; ++i) s.sum += exp_of(x[i / N].v[i % N] - shift);
  }
  return block_merge<kBlock>(s);
}

// Row `grad` = factor * exp(logit - max) - [logit is the target's] * scale.
template <int kBlock, int N, class L, class D, class Real>
__device__ inline void write_gradient(const L* row, D* grad, int64_t vocab, int64_t tiles, Real max,
                                      Real factor, int32_t target, Real scale) {
  for (int64_t number = 0; number < tiles; ++number) {
    const Tile<kBlock, N> tile(number);
    Lanes<Real, N> x[kGroups];
#pragma unroll
    for (int g = 0; g < kGroups; ++g) x[g] = load_logits<N>(row, tile.logit(g), vocab);
    // A narrower gradient in the logits' place ends at half of what was read: after the barrier, no
    // thread needs what this tile overwrites.
    if constexpr (sizeof(D) < sizeof(L)) gpu::sync_block();
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const int64_t i = tile.logit(g), target_lane = target - i;
#pragma unroll
      for (int k = 0; k < N; ++k) {
        x[g].v[k] = factor * exp_of(x[g].v[k] - max);
        if (k == target_lane) x[g].v[k] -= scale;
      }
      store_gradient<N>(grad, i, vocab, x[g]);
    }
  }
}

// Grid: x = rows.
template <int kBlock, int N, class L, class D>
__global__ __launch_bounds__(kBlock) void cross_entropy(const CrossEntropyRows<L, D> p) {
  using Real = gpu::Wide<L>;
  const int64_t r = gpu::block_index().x, tiles = (p.vocab - 1) / Tile<kBlock, N>::kLogits + 1;
  const L* row = p.logits + r * p.logits_stride;
  D* grad = p.dlogits ? p.dlogits + r * p.dlogits_stride : nullptr;
  const int32_t target = p.targets[r];
  if (target == p.ignore_index) {
    if (gpu::thread_index().x == 0) p.losses[r] = 0;
    for (int64_t i = int64_t(gpu::thread_index().x) * N; grad && i < p.vocab; i += kBlock * N)
      store_gradient<N>(grad, i, p.vocab, Lanes<Real, N>{});
    return;
  }
  const bool known = target >= 0 && target < p.vocab;
  const Real target_logit =
      known ? gpu::widen(row[target]) : std::numeric_limits<Real>::quiet_NaN();
  const auto [max, sum] = statistics_of<kBlock, N>(row, p.vocab, tiles);
  const Real log_sum = std::log(sum), lse = max + log_sum;
  if (gpu::thread_index().x == 0)
    p.losses[r] = (max - target_logit) + log_sum + p.z_loss * lse * lse;
  if (!grad) return;
  // d loss / d logit = softmax (1 + 2 z_loss lse) - [logit is the target's]
  const Real factor = known ? p.scale * (1 + 2 * p.z_loss * lse) / sum : target_logit;
  write_gradient<kBlock, N>(row, grad, p.vocab, tiles, max, factor, target, p.scale);
}

// One block.
template <class Real>
__global__ __launch_bounds__(kThreads) void total_loss(const Real* losses, int64_t n, double scale,
                                                       Real* total) {
  double sum = 0;
#pragma unroll 4
  for (int64_t i = gpu::thread_index().x; i < n; i += kThreads) sum += double(losses[i]);
  sum = gpu::block_sum<kThreads>(sum);
  if (gpu::thread_index().x == 0) *total = Real(sum * scale);
}

template <int kBlock, int N, class L, class D>
void launch_rows(Context& ctx, const CrossEntropyRows<L, D>& p) {
  gpu::launch(ctx, cross_entropy<kBlock, N, L, D>, {.x = unsigned(p.rows), .threads = kBlock}, p);
}

// Where the rows are aligned; f64, which only tests use, in one size.
template <class L, class D>
void launch_aligned(Context& ctx, const CrossEntropyRows<L, D>& p) {
  constexpr int kLanes = kLanesOf<L>;
  if (sizeof(L) > sizeof(float) || p.vocab <= kSmallVocab)
    return launch_rows<kFewThreads, kLanes>(ctx, p);
  if constexpr (sizeof(L) <= sizeof(float)) {
    p.vocab <= kLargeVocab<L> ? launch_rows<kThreads, kLanes>(ctx, p)
                              : launch_rows<kManyThreads, kLanes>(ctx, p);
  }
}

template <class L, class D>
void launch(Context& ctx, const CrossEntropyRows<L, D>& p) {
  constexpr int kLanes = kLanesOf<L>;
  const bool aligned = p.logits_stride % kLanes == 0 && p.dlogits_stride % kLanes == 0 &&
                       are_aligned({p.logits}) && are_aligned({p.dlogits}, kLanes * sizeof(D));
  aligned ? launch_aligned(ctx, p) : launch_rows<kFewThreads, 1>(ctx, p);
}

}  // namespace

template <>
void cross_entropy_gpu<TESSERA_GPU_DEVICE, float, float>(
    Context& ctx, const CrossEntropyRows<float, float>& args) {
  launch(ctx, args);
}
template <>
void cross_entropy_gpu<TESSERA_GPU_DEVICE, float, bf16>(Context& ctx,
                                                        const CrossEntropyRows<float, bf16>& args) {
  launch(ctx, args);
}
template <>
void cross_entropy_gpu<TESSERA_GPU_DEVICE, bf16, bf16>(Context& ctx,
                                                       const CrossEntropyRows<bf16, bf16>& args) {
  launch(ctx, args);
}
template <>
void cross_entropy_gpu<TESSERA_GPU_DEVICE, double, double>(
    Context& ctx, const CrossEntropyRows<double, double>& args) {
  launch(ctx, args);
}

template <>
void total_loss_gpu<TESSERA_GPU_DEVICE, float>(Context& ctx, const float* losses, int64_t n,
                                               double scale, float* total) {
  gpu::launch(ctx, total_loss<float>, {.x = 1, .threads = kThreads}, losses, n, scale, total);
}
template <>
void total_loss_gpu<TESSERA_GPU_DEVICE, double>(Context& ctx, const double* losses, int64_t n,
                                                double scale, double* total) {
  gpu::launch(ctx, total_loss<double>, {.x = 1, .threads = kThreads}, losses, n, scale, total);
}

}  // namespace tessera
