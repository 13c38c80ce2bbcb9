#include "kernels/linear/kernel.h"

#include <algorithm>

#include "core/transfer.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/launch/gpu/dispatch.h"
#include "kernels/linear/cpu.h"
#include "kernels/linear/cublaslt.h"
#include "kernels/linear/gpu.h"
#include "kernels/linear/onednn.h"

namespace tessera {
namespace {

// Up to this many rows of c, reading a bf16 b is what counts, and dot products are faster than
// oneDNN (Zen 4, one row: by a third) and than widening it. In f32 oneDNN is as fast.
constexpr int64_t kFewRows = 2;

void check_matrix(std::string_view op, std::string_view name, const Tensor& x) {
  check(x.defined() && x.rank() == 2, "{}: {} of shape {} is not a matrix", op, name, x.shape());
  check((x.shape(1) <= 1 || x.stride(1) == 1) && (x.shape(0) <= 1 || x.stride(0) >= x.shape(1)),
        "{}: {} of shape {} and strides {} has no contiguous rows; copy it first", op, name,
        x.shape(), x.strides());
}

void check_args(const MatmulArgs& p) {
  check_matrix("matmul", "a", p.a);
  check_matrix("matmul", "b", p.b);
  check_matrix("matmul", "c", p.c);
  const int64_t m = p.a.shape(p.transpose_a ? 1 : 0), k = p.a.shape(p.transpose_a ? 0 : 1);
  check(p.b.shape(p.transpose_b ? 1 : 0) == k &&
            p.c.shape() == Shape{m, p.b.shape(p.transpose_b ? 0 : 1)},
        "matmul: a {}{} times b {}{} does not give c {}", p.a.shape(),
        p.transpose_a ? " transposed" : "", p.b.shape(), p.transpose_b ? " transposed" : "",
        p.c.shape());
  check(k > 0, "matmul: a of shape {} leaves nothing to sum over", p.a.shape());
  const DType in = p.a.dtype(), out = p.c.dtype();
  const bool mixed = in == DType::bf16 && out == DType::f32;
  check(p.b.dtype() == in && (out == in || mixed) &&
            (in == DType::f32 || in == DType::bf16 || in == DType::f64),
        "matmul: dtypes {} times {} to {}; use f32, bf16 or f64 throughout, or bf16 to f32", in,
        p.b.dtype(), out);
  if (!p.bias.defined()) return;
  const DType bias = in == DType::f64 ? DType::f64 : DType::f32;
  check(p.bias.shape() == Shape{p.c.shape(1)} && p.bias.dtype() == bias && p.bias.is_contiguous() &&
            !p.accumulate,
        "matmul: bias {} {} must be {} [{}], and c not be accumulated", p.bias.dtype(),
        p.bias.shape(), bias, p.c.shape(1));
}

// c = bias in every row.
template <class T>
void fill_rows(Context& ctx, const Tensor& c, const Tensor& bias) {
  T* data = c.data<T>();
  const T* from = bias.data<T>();
  const int64_t columns = c.shape(1), stride = row_stride(c);
  parallel_for(ctx.threads(), c.shape(0), 16384 / columns + 1, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::copy(from, from + columns, data + row * stride);
  });
}

// Plain loops: f64 is for tests.
void matmul_f64(Context& ctx, const MatmulArgs& p) {
  const auto [m, n, k] = sizes_of(p);
  const int64_t lda = row_stride(p.a), ldb = row_stride(p.b), ldc = row_stride(p.c);
  const int64_t a_row = p.transpose_a ? 1 : lda, a_column = p.transpose_a ? lda : 1;
  const int64_t b_row = p.transpose_b ? 1 : ldb, b_column = p.transpose_b ? ldb : 1;
  const double *a = p.a.data<double>(), *b = p.b.data<double>();
  double* c = p.c.data<double>();
  if (p.bias.defined()) fill_rows<double>(ctx, p.c, p.bias);
  const bool keep = p.accumulate || p.bias.defined();
  parallel_for(ctx.threads(), m, 1, [=, n = n, k = k](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double* row = c + i * ldc;
      if (!keep) std::fill(row, row + n, 0.0);
      for (int64_t l = 0; l < k; ++l) {
        const double factor = a[i * a_row + l * a_column];
        for (int64_t j = 0; j < n; ++j) row[j] += factor * b[l * b_row + j * b_column];
      }
    }
  });
}

// Where oneDNN's batch-reduce kernels are faster than sgemm (2 threads, GFLOP/s): in x W^T with few
// rows of x, or with few columns and long rows of W (2048 x 512 x 512 (rows, columns, sum): 208
// against 166 on Zen 4, 551 against 442 on Zen 5), and on long sums for few columns in x W (2048 x
// 512 x 2752: 211 against 191 on Zen 4). Elsewhere they are 1-10% slower.
bool primitive_is_faster(const MatmulArgs& p) {
  constexpr int64_t kFewest = 64, kFew = 512, kFewColumns = 1024, kLongSum = 512;
  const auto [m, n, k] = sizes_of(p);
  if (p.transpose_a || p.accumulate || p.bias.defined() || m < kFewest) return false;
  if (p.transpose_b) return m <= kFew || (n <= kFewColumns && k >= kLongSum);
  return m >= kFew && n <= kFew && k > kFewColumns;
}

void matmul_f32(Context& ctx, MatmulArgs p) {
  if (primitive_is_faster(p) && ctx.isa() >= Isa::avx512 && primitive_matmul(ctx, p)) return;
  if (ctx.is_meta()) return;
  if (p.bias.defined()) {
    fill_rows<float>(ctx, p.c, p.bias);
    p.accumulate = true;
  }
  sgemm(ctx, p);
}

template <class C>
void matmul_few_rows(Context& ctx, const MatmulArgs& p) {
  const auto [m, n, k] = sizes_of(p);
  const FewRows<C> args{.a = p.a.data<bf16>(),
                        .b = p.b.data<bf16>(),
                        .c = p.c.data<C>(),
                        .bias = p.bias.defined() ? p.bias.data<float>() : nullptr,
                        .m = m,
                        .n = n,
                        .k = k,
                        .a_stride = row_stride(p.a),
                        .b_stride = row_stride(p.b),
                        .c_stride = row_stride(p.c)};
  dispatch_isa(ctx.isa(), [&]<Isa isa>() { few_rows_cpu<isa>(ctx.threads(), args); });
}

Tensor widened(Context& ctx, const Tensor& x) {
  Tensor wide = ctx.empty(x.shape(), DType::f32, MemoryTag::workspace);
  convert(ctx, wide, x);
  return wide;
}

// bf16 without bf16 instructions: in f32.
void matmul_widened(Context& ctx, const MatmulArgs& p) {
  MatmulArgs wide = p;
  wide.a = widened(ctx, p.a);
  wide.b = widened(ctx, p.b);
  const bool narrow = p.c.dtype() == DType::bf16;
  if (narrow && p.accumulate) wide.c = widened(ctx, p.c);
  if (narrow && !p.accumulate) wide.c = ctx.empty(p.c.shape(), DType::f32, MemoryTag::workspace);
  matmul_f32(ctx, wide);
  if (narrow) convert(ctx, p.c, wide.c);
}

void matmul_bf16(Context& ctx, const MatmulArgs& p) {
  const bool is_product_of_rows = !p.transpose_a && p.transpose_b && !p.accumulate;
  if (is_product_of_rows && p.c.shape(0) <= kFewRows) {
    if (ctx.is_meta()) return;
    p.c.dtype() == DType::f32 ? matmul_few_rows<float>(ctx, p) : matmul_few_rows<bf16>(ctx, p);
    return;
  }
  if (ctx.isa() == Isa::avx512_bf16 && primitive_matmul(ctx, p)) return;
  matmul_widened(ctx, p);
}

// cuBLASLt adds a bias of c's dtype, and in f64 none: there c begins as a column of ones times it.
void matmul_cuda(Context& ctx, MatmulArgs p) {
  if (p.bias.defined() && p.c.dtype() == DType::f64) {
    const int64_t rows = p.c.shape(0);
    const Tensor ones = ctx.empty({rows, 1}, DType::f64, MemoryTag::workspace);
    upload(ones, std::vector<double>(size_t(rows), 1.0).data());
    matmul_cuda(ctx, {.a = ones, .b = p.bias.view({1, p.c.shape(1)}), .c = p.c, .bias = {}});
    p.bias = {};
    p.accumulate = true;
  } else if (p.bias.defined() && p.bias.dtype() != p.c.dtype()) {
    const Tensor bias = ctx.empty(p.bias.shape(), p.c.dtype(), MemoryTag::workspace);
    convert(ctx, bias, p.bias);
    p.bias = bias;
  }
  const Tensor workspace = ctx.workspace(kCublasLtWorkspaceBytes);
  if (!ctx.is_meta()) cublaslt_matmul(ctx, p, workspace);
}

// Partial sums of at least 64 rows, of which there are at most 64.
void sum_rows_on_gpu(Context& ctx, const SumRowsArgs& args) {
  const Tensor &x = args.x, &sums = args.sums;
  const int64_t step = std::max<int64_t>(64, (x.shape(0) + 63) / 64);
  const Tensor partials =
      ctx.empty({(x.shape(0) + step - 1) / step, x.shape(1)}, sums.dtype(), MemoryTag::workspace);
  if (ctx.is_meta()) return;
  dispatch_compute("sum_rows", x.dtype(), [&]<class S>() {
    using Sum = typename SumRowsGpu<S>::Sum;
    const SumRowsGpu<S> data{.x = x.data<S>(),
                             .sums = sums.data<Sum>(),
                             .rows = x.shape(0),
                             .columns = x.shape(1),
                             .stride = row_stride(x),
                             .accumulate = args.accumulate,
                             .rows_per_chunk = step,
                             .partials = partials.data<Sum>()};
    dispatch_gpu(ctx.device(), [&]<Device device>() { sum_rows_gpu<device>(ctx, data); });
  });
}

}  // namespace

KernelCost cost(const MatmulArgs& p) {
  const auto [m, n, k] = sizes_of(p);
  return {.flops = 2.0 * double(m) * double(n) * double(k),
          .bytes = double(p.a.bytes()) + double(p.b.bytes()) +
                   double(p.c.bytes()) * (p.accumulate ? 2 : 1)};
}

void matmul(Context& ctx, const MatmulArgs& args) {
  check_args(args);
  args.c.storage()->bump_version();
  const KernelScope scope(ctx, "matmul", cost(args));
  if (args.c.elements() == 0) return;
  if (ctx.target() == Device::cuda) return matmul_cuda(ctx, args);
  const EmulatedWork work(ctx.pool().segments());
  const DType dtype = args.a.dtype();
  if (dtype == DType::bf16) return matmul_bf16(ctx, args);
  if (dtype == DType::f32) return matmul_f32(ctx, args);
  if (!ctx.is_meta()) matmul_f64(ctx, args);
}

KernelCost cost(const SumRowsArgs& args) {
  return {.flops = double(args.x.elements()),
          .bytes = double(args.x.bytes()) + double(args.sums.bytes())};
}

void sum_rows(Context& ctx, const SumRowsArgs& args) {
  const Tensor &x = args.x, &sums = args.sums;
  check_matrix("sum_rows", "x", x);
  const DType dtype = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  check(sums.shape() == Shape{x.shape(1)} && sums.dtype() == dtype && sums.is_contiguous(),
        "sum_rows: sums {} {} must be {} [{}]", sums.dtype(), sums.shape(), dtype, x.shape(1));
  sums.storage()->bump_version();
  const KernelScope scope(ctx, "sum_rows", cost(args));
  if (x.elements() == 0) return;
  if (is_gpu(ctx.target())) return sum_rows_on_gpu(ctx, args);
  if (ctx.is_meta()) return;
  dispatch_compute("sum_rows", x.dtype(), [&]<class S>() {
    const SumRows<S> loop{.x = x.data<S>(),
                          .sums = sums.data<typename SumRows<S>::Sum>(),
                          .rows = x.shape(0),
                          .columns = x.shape(1),
                          .stride = row_stride(x),
                          .accumulate = args.accumulate};
    dispatch_isa(ctx.isa(), [&]<Isa isa>() { sum_rows_cpu<isa>(ctx.threads(), loop); });
  });
}

}  // namespace tessera
