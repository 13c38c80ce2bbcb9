#include "kernels/embedding/kernel.h"

#include <algorithm>
#include <cstring>

#include "core/transfer.h"
#include "kernels/embedding/cpu.h"
#include "kernels/embedding/gpu.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/launch/gpu/dispatch.h"

namespace tessera {
namespace {

constexpr int64_t kGrainBytes = 65536;  // that are worth waking a thread for

template <class S>
EmbeddingLoop<S> loop_of(Isa isa) {
  return isa == Isa::avx2 ? embedding_cpu<Isa::avx2, S>() : embedding_cpu<Isa::avx512, S>();
}

void check_matrix(std::string_view name, const Tensor& x) {
  check(x.rank() == 2 && x.is_contiguous(),
        "embedding: {} of shape {} and strides {} is not a contiguous matrix", name, x.shape(),
        x.strides());
}

void check_shapes(const Tensor& tokens, const Tensor& table, std::string_view rows_name,
                  const Tensor& rows) {
  check(tokens.dtype() == DType::i32 && tokens.rank() == 1 && tokens.is_contiguous(),
        "embedding: tokens must be a contiguous i32 [N], not {} of shape {}", tokens.dtype(),
        tokens.shape());
  check_matrix("the table", table);
  check_matrix(rows_name, rows);
  check(rows.shape(0) == tokens.shape(0) && rows.shape(1) == table.shape(1),
        "embedding: {} of shape {} does not match {} tokens and a table of shape {}", rows_name,
        rows.shape(), tokens.shape(0), table.shape());
}

void check_tokens(const Tensor& tokens, int64_t vocabulary) {
  const int32_t* ids = tokens.data<int32_t>();
  for (int64_t n = 0; n < tokens.shape(0); ++n) {
    check(ids[n] >= 0 && ids[n] < vocabulary,
          "embedding: token {} at position {} is outside the vocabulary of {}", ids[n], n,
          vocabulary);
  }
}

int64_t grain_of(size_t row_bytes) {
  return 1 + kGrainBytes / int64_t(std::max<size_t>(1, row_bytes));
}

template <class S>
EmbeddingScatter<S> scatter_args(const EmbeddingBackwardArgs& a) {
  return {.tokens = a.tokens.data<int32_t>(),
          .dy = a.dy.data<S>(),
          .dtable = a.dtable.data<EmbeddingGrad<S>>(),
          .rows = a.dy.shape(0),
          .width = a.dy.shape(1)};
}

// Several threads, in contiguous ranges.
void fill_zero(Context& ctx, const Tensor& x) {
  const size_t row_bytes = size_t(x.shape(1)) * size_of(x.dtype());
  parallel_for(ctx.threads(), x.shape(0), grain_of(row_bytes), [&](int64_t begin, int64_t end) {
    std::memset(x.raw() + size_t(begin) * row_bytes, 0, size_t(end - begin) * row_bytes);
  });
}

void gather_on_cpu(Context& ctx, const EmbeddingForwardArgs& a) {
  check_tokens(a.tokens, a.table.shape(0));
  const size_t row_bytes = size_t(a.table.shape(1)) * size_of(a.table.dtype());
  const int32_t* ids = a.tokens.data<int32_t>();
  const std::byte* table = a.table.raw();
  std::byte* y = a.y.raw();
  parallel_for(
      ctx.threads(), a.tokens.shape(0), grain_of(row_bytes), [=](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n)
          std::memcpy(y + size_t(n) * row_bytes, table + size_t(ids[n]) * row_bytes, row_bytes);
      });
}

void scatter_on_cpu(Context& ctx, const EmbeddingBackwardArgs& a) {
  check_tokens(a.tokens, a.dtable.shape(0));
  if (!a.accumulate) fill_zero(ctx, a.dtable);
  if (a.dy.elements() == 0) return;
  dispatch_compute("embedding", a.dy.dtype(),
                   [&]<class S>() { loop_of<S>(ctx.isa())(ctx.threads(), scatter_args<S>(a)); });
}

// Workspace of the gradient on a GPU: i32 counters [V + 1], which are 0, and lists [V + 3 N].
struct GroupMemory {
  Tensor counters, lists;

  GroupMemory(Context& ctx, int64_t vocabulary, int64_t rows)
      : counters(ctx.zeros({vocabulary + 1}, DType::i32, MemoryTag::workspace)),
        lists(ctx.empty({vocabulary + 3 * rows}, DType::i32, MemoryTag::workspace)) {}

  EmbeddingGroups groups(int64_t vocabulary, int64_t rows) const {
    int32_t *const counter = counters.data<int32_t>(), *const list = lists.data<int32_t>();
    return {.count = counter,
            .begin = list,
            .taken = counter + vocabulary,
            .slot = list + vocabulary,
            .bucket = list + vocabulary + rows,
            .sorted = list + vocabulary + 2 * rows};
  }
};

void scatter_on_gpu(Context& ctx, const EmbeddingBackwardArgs& a, const GroupMemory& memory) {
  const int64_t vocabulary = a.dtable.shape(0);
  dispatch_compute("embedding", a.dy.dtype(), [&]<class S>() {
    const EmbeddingScatterGpu<S> args{scatter_args<S>(a), memory.groups(vocabulary, a.dy.shape(0)),
                                      vocabulary, a.accumulate};
    dispatch_gpu(ctx.device(), [&]<Device device>() { embedding_scatter_gpu<device>(ctx, args); });
  });
}

}  // namespace

KernelCost cost(const EmbeddingForwardArgs& a) {
  return {.flops = 0, .bytes = 2.0 * double(a.y.bytes()) + double(a.tokens.bytes())};
}

KernelCost cost(const EmbeddingBackwardArgs& a) {
  const double updates = double(a.dy.elements());
  return {.flops = updates,
          .bytes = double(a.dy.bytes()) + double(a.tokens.bytes()) +
                   2 * updates * double(size_of(a.dtable.dtype())) +
                   (a.accumulate ? 0 : double(a.dtable.bytes()))};
}

void embedding_forward(Context& ctx, const EmbeddingForwardArgs& a) {
  check_shapes(a.tokens, a.table, "y", a.y);
  check(a.y.dtype() == a.table.dtype(), "embedding: y has dtype {}, the table {}", a.y.dtype(),
        a.table.dtype());
  const KernelScope scope(ctx, "embedding_forward", cost(a));
  if (ctx.is_meta() || a.y.elements() == 0) return;
  if (!is_gpu(ctx.device())) return gather_on_cpu(ctx, a);
  const int64_t element_bytes = int64_t(size_of(a.table.dtype()));
  const EmbeddingGather args{.tokens = a.tokens.data<int32_t>(),
                             .table = a.table.raw(),
                             .y = a.y.raw(),
                             .rows = a.y.shape(0),
                             .row_bytes = a.y.shape(1) * element_bytes,
                             .vocabulary = a.table.shape(0),
                             .element_bytes = element_bytes};
  dispatch_gpu(ctx.device(), [&]<Device device>() { embedding_gather_gpu<device>(ctx, args); });
}

void embedding_backward(Context& ctx, const EmbeddingBackwardArgs& a) {
  check_shapes(a.tokens, a.dtable, "dy", a.dy);
  const DType dtype = a.dy.dtype() == DType::f64 ? DType::f64 : DType::f32;
  check(a.dtable.dtype() == dtype, "embedding: dtable has dtype {}; with dy of dtype {} it is {}",
        a.dtable.dtype(), a.dy.dtype(), dtype);
  const KernelScope scope(ctx, "embedding_backward", cost(a));
  if (!is_gpu(ctx.target())) {
    if (!ctx.is_meta()) scatter_on_cpu(ctx, a);
    return;
  }
  const GroupMemory memory(ctx, a.dtable.shape(0), a.dy.shape(0));
  if (ctx.is_meta() || a.dtable.elements() == 0) return;
  if (a.dy.elements() > 0) return scatter_on_gpu(ctx, a, memory);
  if (!a.accumulate) zero(a.dtable);
}

}  // namespace tessera
