// Softmax over rows of scores, and its gradient: a warp for each row, which passes over it twice;
// the second time it finds most of it in the caches.
#include <cmath>
#include <limits>

#include "kernels/attention/gpu_softmax.h"
#include "kernels/launch/gpu/device.h"
#include "kernels/launch/gpu/launch.h"
#include "kernels/launch/gpu/philox.h"
#include "kernels/launch/gpu/reduce.h"

namespace tessera {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / gpu::kWarpSize;

template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();

__device__ inline int64_t row_of_warp() {
  return int64_t(gpu::block_index().x) * kWarps + gpu::warp();
}
unsigned blocks_for(int64_t rows) {
  return unsigned((rows + kWarps - 1) / kWarps);
}

struct Seen {
  int64_t begin, end;  // keys that a query sees
  template <class S>
  __device__ Seen(const SoftmaxRows<S>& a, int64_t query)
      : begin(query > a.left ? query - a.left : 0),
        end(query + a.right + 1 < a.keys ? query + a.right + 1 : a.keys) {}
  __device__ bool has(int64_t key) const { return key >= begin && key < end; }
};

// A score in units of `outer`.
template <class S, class T>
__device__ inline T capped(const SoftmaxRows<S>& a, T product) {
  return a.inner == 0 ? product : std::tanh(product * a.inner);
}

// With what ALiBi takes from it; `slope` in units of `outer`.
template <class S, class T>
__device__ inline T score(const SoftmaxRows<S>& a, T slope, int64_t query, int64_t key, T product) {
  const T s = capped(a, product);
  if (slope == 0) return s;
  const int64_t distance = query + a.diagonal - key;
  return gpu::fma(-slope, T(distance < 0 ? -distance : distance), s);
}

template <class S, class T>
__device__ inline T after_dropout(const SoftmaxRows<S>& a, int64_t query, int64_t key, T x) {
  if (a.threshold == 0) return x;
  const uint64_t draw = uint64_t(a.first_draw + query * a.row_draws + key);
  return gpu::philox_bits(a.random, draw) >> 8 >= a.threshold ? x * a.kept_factor : T(0);
}

// Maximum and sum go together (Milakov & Gimelshein, "Online normalizer calculation for softmax",
// 2018).
template <class S>
__global__ void __launch_bounds__(kThreads)
    attention_softmax_kernel(SoftmaxRows<S> a, gpu::Wide<S>* lse) {
  using T = gpu::Wide<S>;
  const int64_t i = row_of_warp();
  if (i >= a.queries) return;
  const Seen seen(a, i);
  const T* products = a.products + i * a.stride;
  const T exponent = a.outer * T(1.4426950408889634);  // log2(e): of powers of 2
  const T slope = a.slope ? T(*a.slope) / a.outer : T(0);
  const T sink = a.sink ? *a.sink / a.outer : -kInfinity<T>;
  T maximum = -kInfinity<T>, sum = 0;
  for (int64_t j = seen.begin + gpu::lane(); j < seen.end; j += gpu::kWarpSize) {
    const T s = score(a, slope, i, j, products[j]);
    if (s > maximum) {
      sum = sum * std::exp2((maximum - s) * exponent) + 1;
      maximum = s;
    } else {
      sum += std::exp2((s - maximum) * exponent);
    }
  }
  const T largest = gpu::max(gpu::warp_max(maximum), sink);
  sum = gpu::warp_sum(sum == 0 ? T(0) : sum * std::exp2((maximum - largest) * exponent));
  if (a.sink) sum += std::exp2((sink - largest) * exponent);
  if (lse && gpu::lane() == 0)
    lse[i] = sum == 0 ? -kInfinity<T> : largest * a.outer + std::log(sum);

  const T factor = T(1) / sum;
  gpu::sync_warp();  // what is written may be where other lanes have read; shuffles order no memory
  for (int64_t j = gpu::lane(); j < a.keys; j += gpu::kWarpSize) {
    T p = 0;
    if (seen.has(j))
      p = std::exp2((score(a, slope, i, j, products[j]) - largest) * exponent) * factor;
    a.probabilities[i * a.stride + j] = gpu::narrow<S>(p);
    if (a.dropped) a.dropped[i * a.stride + j] = gpu::narrow<S>(after_dropout(a, i, j, p));
  }
}

// d score = p (d_p - sum of p d_p + d_lse), where d_p has passed back through dropout.
template <class S>
__global__ void __launch_bounds__(kThreads)
    attention_softmax_gradient_kernel(SoftmaxRows<S> a, const gpu::Wide<S>* d_p,
                                      const gpu::Wide<S>* d_lse, const gpu::Wide<S>* lse,
                                      gpu::Wide<S>* d_sink, S* d_products) {
  using T = gpu::Wide<S>;
  const int64_t i = row_of_warp(), row = i * a.stride;
  if (i >= a.queries) return;
  const Seen seen(a, i);
  T sum = 0;
  for (int64_t j = seen.begin + gpu::lane(); j < seen.end; j += gpu::kWarpSize) {
    const T p = gpu::widen(a.probabilities[row + j]);
    sum = gpu::fma(p, after_dropout(a, i, j, d_p[row + j]), sum);
  }
  const T delta = gpu::warp_sum(sum) - (d_lse ? d_lse[i] : T(0));
  // p (0 - delta), as a score without a value
  if (a.sink && gpu::lane() == 0) d_sink[i] = -delta * std::exp(*a.sink - lse[i]);

  gpu::sync_warp();  // as above
  for (int64_t j = gpu::lane(); j < a.keys; j += gpu::kWarpSize) {
    T d = 0, p = 0;
    if (seen.has(j)) {
      p = gpu::widen(a.probabilities[row + j]);
      d = p * (after_dropout(a, i, j, d_p[row + j]) - delta) * a.scale;
      if (a.inner != 0) {
        const T t = capped(a, a.products[row + j]);
        d *= gpu::fma(-t, t, T(1));
      }
    }
    d_products[row + j] = gpu::narrow<S>(d);
    if (a.dropped) a.dropped[row + j] = gpu::narrow<S>(after_dropout(a, i, j, p));
  }
}

// A block for each head.
template <class T>
__global__ void __launch_bounds__(kThreads)
    attention_add_up_sinks_kernel(const T* parts, int64_t queries, int64_t stride, T* d_sink) {
  const int64_t head = gpu::block_index().x;
  T sum = 0;
  for (int64_t i = gpu::thread_index().x; i < queries; i += kThreads)
    sum += parts[head * stride + i];
  sum = gpu::block_sum<kThreads>(sum);
  if (gpu::thread_index().x == 0) d_sink[head] = sum;
}

// A warp for each token and head.
template <class S>
__global__ void __launch_bounds__(kThreads) attention_store_heads_kernel(StoredHeads<S> a) {
  using T = gpu::Wide<S>;
  const int64_t row = row_of_warp(), token = row / a.heads, head = row % a.heads;
  if (row >= a.tokens * a.heads) return;
  S* to = static_cast<S*>(a.to.data) + token * a.to.token_stride + head * a.to.head_stride;
  for (int64_t d = gpu::lane(); d < a.head_dim; d += gpu::kWarpSize)
    to[d] = gpu::narrow<S>(a.values ? a.values[row * a.head_dim + d] : T(0));
}

template <class S>
void forward(Context& ctx, const SoftmaxRows<S>& rows, gpu::Wide<S>* lse) {
  gpu::launch(ctx, attention_softmax_kernel<S>,
              {.x = blocks_for(rows.queries), .threads = kThreads}, rows, lse);
}

template <class S>
void backward(Context& ctx, const SoftmaxRows<S>& rows, const gpu::Wide<S>* d_p,
              const gpu::Wide<S>* d_lse, const gpu::Wide<S>* lse, gpu::Wide<S>* d_sink,
              S* d_products) {
  gpu::launch(ctx, attention_softmax_gradient_kernel<S>,
              {.x = blocks_for(rows.queries), .threads = kThreads}, rows, d_p, d_lse, lse, d_sink,
              d_products);
}

template <class T>
void add_up_sinks(Context& ctx, const T* parts, int64_t heads, int64_t queries, int64_t stride,
                  T* d_sink) {
  gpu::launch(ctx, attention_add_up_sinks_kernel<T>, {.x = unsigned(heads), .threads = kThreads},
              parts, queries, stride, d_sink);
}

template <class S>
void store(Context& ctx, const StoredHeads<S>& rows) {
  gpu::launch(ctx, attention_store_heads_kernel<S>,
              {.x = blocks_for(rows.tokens * rows.heads), .threads = kThreads}, rows);
}

}  // namespace

template <>
SoftmaxGpu<float> softmax_gpu<TESSERA_GPU_DEVICE, float>() {
  return {forward<float>, backward<float>, add_up_sinks<float>, store<float>};
}
template <>
SoftmaxGpu<bf16> softmax_gpu<TESSERA_GPU_DEVICE, bf16>() {
  return {forward<bf16>, backward<bf16>, add_up_sinks<float>, store<bf16>};
}
template <>
SoftmaxGpu<double> softmax_gpu<TESSERA_GPU_DEVICE, double>() {
  return {forward<double>, backward<double>, add_up_sinks<double>, store<double>};
}

}  // namespace tessera
