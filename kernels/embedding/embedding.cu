// Embedding. Forward copies rows. Backward groups the rows of dy by token without the host:
//   count_rows   counts each token's rows by integer atomics, which also gives every row a slot;
//   place_tokens gives each token a range of `sorted`, wherever there is room;
//   place_rows   puts the rows into their token's range, in the order of their slots;
//   sort_rows    ranks each row among its token's by counting the smaller ones;
//   sum_rows     adds up each token's rows in ascending order.
// Slots and ranges vary from run to run, the sums do not: they are the CPU's, bit for bit but for
// subnormals, which the CPU takes for 0. Time is O(rows + vocabulary) but for ranking, which is
// quadratic in the rows of one token: 64k rows of one token compare 4e9 pairs, half a millisecond
// of an H200.
#include "kernels/elementwise/gpu_lanes.h"
#include "kernels/embedding/gpu.h"

namespace tessera {
namespace {

constexpr int kThreads = 256;
constexpr int kInFlight = 8;  // rows of dy that a thread loads before it adds them

__device__ inline int64_t global_thread() {
  return int64_t(gpu::block_index().x) * kThreads + gpu::thread_index().x;
}

// Grid: x = groups of rows: thread t copies units t % n, t % n + kThreads, ... of row t / n of its
// block, with n = units a row, up to kThreads.
template <class Unit, int N>
__global__ __launch_bounds__(kThreads) void gather(EmbeddingGather a, int units) {
  const int in_step = gpu::min(units, kThreads), thread = int(gpu::thread_index().x);
  const int rows = kThreads / in_step;
  const int64_t row = int64_t(gpu::block_index().x) * rows + thread / in_step;
  if (thread >= rows * in_step || row >= a.rows) return;
  const int64_t token = a.tokens[row];
  const bool known = token >= 0 && token < a.vocabulary;
  const auto* from = reinterpret_cast<const Unit*>(a.table + (known ? token : 0) * a.row_bytes);
  auto* to = reinterpret_cast<Unit*>(a.y + row * a.row_bytes);
  gpu::Vector<Unit, N> nan;
#pragma unroll
  for (int k = 0; k < N; ++k) nan.v[k] = Unit(~Unit(0));
  for (int64_t unit = thread % in_step; unit < units; unit += in_step)
    gpu::store_global(to + unit * N, known ? gpu::load_vector<Unit, N>(from + unit * N) : nan);
}

// Grid: x covers the rows.
__global__ __launch_bounds__(kThreads) void count_rows(const int32_t* tokens, int64_t rows,
                                                       int64_t vocabulary, EmbeddingGroups g) {
  const int64_t row = global_thread();
  if (row >= rows) return;
  const int64_t token = tokens[row];
  if (token >= 0 && token < vocabulary) g.slot[row] = gpu::atomic_add(g.count + token, 1);
}

// Grid: x covers the vocabulary.
__global__ __launch_bounds__(kThreads) void place_tokens(int64_t vocabulary, EmbeddingGroups g) {
  const int64_t token = global_thread();
  if (token < vocabulary && g.count[token] > 0)
    g.begin[token] = gpu::atomic_add(g.taken, g.count[token]);
}

// Grid: x covers the rows.
__global__ __launch_bounds__(kThreads) void place_rows(const int32_t* tokens, int64_t rows,
                                                       int64_t vocabulary, EmbeddingGroups g) {
  const int64_t row = global_thread();
  if (row >= rows) return;
  const int64_t token = tokens[row];
  if (token >= 0 && token < vocabulary) g.bucket[g.begin[token] + g.slot[row]] = int32_t(row);
}

// Grid: x covers the rows.
__global__ __launch_bounds__(kThreads) void sort_rows(const int32_t* tokens, int64_t rows,
                                                      int64_t vocabulary, EmbeddingGroups g) {
  const int64_t row = global_thread();
  if (row >= rows) return;
  const int64_t token = tokens[row];
  if (token < 0 || token >= vocabulary) return;
  const int32_t begin = g.begin[token], end = begin + g.count[token];
  int32_t rank = 0;
  for (int32_t i = begin; i < end; ++i) rank += g.bucket[i] < row ? 1 : 0;
  g.sorted[begin + rank] = int32_t(row);
}

template <class T, int N>
__device__ inline void add(Lanes<T, N>& sum, const Lanes<T, N>& x) {
#pragma unroll
  for (int k = 0; k < N; ++k) sum.v[k] += x.v[k];
}

// Grid: x = tokens, y = stretches of columns. N divides width. The chain of a token with n rows is
// n / kInFlight loads long.
template <int N, class S>
__global__ __launch_bounds__(kThreads) void sum_rows(EmbeddingScatterGpu<S> a) {
  const int64_t token = gpu::block_index().x;
  const int64_t column = (int64_t(gpu::block_index().y) * kThreads + gpu::thread_index().x) * N;
  const int32_t count = a.groups.count[token];
  if (column >= a.width || (a.accumulate && count == 0)) return;
  EmbeddingGrad<S>* const to = a.dtable + token * a.width + column;
  Lanes<gpu::Wide<S>, N> sum{};
  if (a.accumulate) sum = load(to, Count<N>{});
  const int32_t* const sorted = a.groups.sorted + (count > 0 ? a.groups.begin[token] : 0);
  const auto row_of = [=](int32_t i) {
    return load(a.dy + sorted[i] * a.width + column, Count<N>{});
  };
  int32_t i = 0;
  for (; i + kInFlight <= count; i += kInFlight) {
    Lanes<gpu::Wide<S>, N> rows[kInFlight];
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) rows[k] = row_of(i + k);
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) add(sum, rows[k]);
  }
  for (; i < count; ++i) add(sum, row_of(i));
  store(to, sum);
}

template <class Unit, int N>
void launch_gather(Context& ctx, const EmbeddingGather& args) {
  const int64_t units = args.row_bytes / int64_t(N * sizeof(Unit));
  const int64_t rows = kThreads / std::min<int64_t>(units, kThreads);
  gpu::launch(ctx, gather<Unit, N>, {.x = gpu::blocks_for(args.rows, rows), .threads = kThreads},
              args, int(units));
}

template <int N, class S>
void launch_sum_rows(Context& ctx, const EmbeddingScatterGpu<S>& args) {
  gpu::launch(ctx, sum_rows<N, S>,
              {.x = unsigned(args.vocabulary),
               .y = gpu::blocks_for(args.width, N * kThreads),
               .threads = kThreads},
              args);
}

template <class S>
void launch_scatter(Context& ctx, const EmbeddingScatterGpu<S>& a) {
  const gpu::Grid rows{.x = gpu::blocks_for(a.rows, kThreads), .threads = kThreads};
  const gpu::Grid tokens{.x = gpu::blocks_for(a.vocabulary, kThreads), .threads = kThreads};
  gpu::launch(ctx, count_rows, rows, a.tokens, a.rows, a.vocabulary, a.groups);
  gpu::launch(ctx, place_tokens, tokens, a.vocabulary, a.groups);
  gpu::launch(ctx, place_rows, rows, a.tokens, a.rows, a.vocabulary, a.groups);
  gpu::launch(ctx, sort_rows, rows, a.tokens, a.rows, a.vocabulary, a.groups);
  constexpr int kLanes = kLanesOf<EmbeddingGrad<S>>;
  if (a.width % kLanes == 0 && are_aligned({a.dy, a.dtable})) {
    launch_sum_rows<kLanes>(ctx, a);
  } else {
    launch_sum_rows<1>(ctx, a);
  }
}

}  // namespace

template <>
void embedding_gather_gpu<TESSERA_GPU_DEVICE>(Context& ctx, const EmbeddingGather& args) {
  if (args.row_bytes % kAccessBytes == 0 && are_aligned({args.table, args.y}))
    return launch_gather<uint32_t, 4>(ctx, args);
  if (args.element_bytes == 2) return launch_gather<uint16_t, 1>(ctx, args);
  if (args.element_bytes == 4) return launch_gather<uint32_t, 1>(ctx, args);
  launch_gather<uint64_t, 1>(ctx, args);
}

template <>
void embedding_scatter_gpu<TESSERA_GPU_DEVICE, float>(Context& ctx,
                                                      const EmbeddingScatterGpu<float>& args) {
  launch_scatter(ctx, args);
}
template <>
void embedding_scatter_gpu<TESSERA_GPU_DEVICE, bf16>(Context& ctx,
                                                     const EmbeddingScatterGpu<bf16>& args) {
  launch_scatter(ctx, args);
}
template <>
void embedding_scatter_gpu<TESSERA_GPU_DEVICE, double>(Context& ctx,
                                                       const EmbeddingScatterGpu<double>& args) {
  launch_scatter(ctx, args);
}

}  // namespace tessera
