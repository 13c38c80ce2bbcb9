#include "kernels/attention/standard_products.h"

#include <algorithm>

#include "kernels/linear/cublaslt.h"
#include "kernels/linear/onednn.h"

namespace tessera {
namespace {

// x in f32, in the memory of `room`.
Tensor widened(const Tensor& x, const Tensor& room) {
  const int64_t rows = x.shape(0), columns = x.shape(1), stride = row_stride(x);
  const bf16* from = x.data<bf16>();
  float* to = room.data<float>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[r * columns + c] = to_float(from[r * stride + c]);
  }
  return matrix_of(room, 0, rows, columns, columns);
}

void narrow(const Tensor& from, const Tensor& to) {
  const int64_t columns = to.shape(1), stride = row_stride(to);
  const float* wide = from.data<float>();
  bf16* narrow = to.data<bf16>();
  for (int64_t r = 0; r < to.shape(0); ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      narrow[r * stride + c] = from_float<bf16>(wide[r * columns + c]);
    }
  }
}

}  // namespace

Tensor matrix_of(const Tensor& x, int64_t first, int64_t rows, int64_t columns, int64_t stride) {
  const int64_t begin = (x.raw() - x.storage()->data()) / int64_t(size_of(x.dtype())) + first;
  // The gap after the last row may reach beyond the storage; nothing reads it.
  return Tensor(x.storage(), {begin + rows * stride}, x.dtype())
      .slice(0, begin, begin + rows * stride)
      .unflatten(0, rows, stride)
      .slice(1, 0, columns);
}

StandardProducts::StandardProducts(Context& ctx, const AttentionProblem& p) : ctx_(ctx) {
  if (ctx.target() == Device::cuda) workspace_ = ctx.workspace(kCublasLtWorkspaceBytes);
  if (ctx.target() == Device::cuda || p.dtype != DType::bf16) return;
  const auto room = [&](int64_t elements) {
    return ctx.empty({elements}, DType::f32, MemoryTag::workspace);
  };
  a_ = room(p.max_q * std::max(p.max_k, p.head_dim));
  b_ = room(std::max(p.max_q, p.max_k) * p.head_dim);
  c_ = room(p.max_q * p.head_dim);
}

void StandardProducts::operator()(const MatmulArgs& args) const {
  if (ctx_.device() == Device::cuda) return cublaslt_matmul(ctx_, args, workspace_);
  const EmulatedWork work(ctx_.pool().segments());
  if (args.a.dtype() == DType::bf16) return multiply_bf16_on_host(args);
  if (args.a.dtype() == DType::f32) return sgemm(ctx_, args);
  matmul(ctx_, args);
}

void StandardProducts::multiply_bf16_on_host(const MatmulArgs& args) const {
  MatmulArgs wide = args;
  wide.a = widened(args.a, a_);
  wide.b = widened(args.b, b_);
  if (args.c.dtype() == DType::f32) return sgemm(ctx_, wide);
  wide.c = matrix_of(c_, 0, args.c.shape(0), args.c.shape(1), args.c.shape(1));
  sgemm(ctx_, wide);
  narrow(wide.c, args.c);
}

}  // namespace tessera
