#include "kernels/rms_norm/kernel.h"

#include <algorithm>

#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/gpu/dispatch.h"
#include "kernels/rms_norm/cpu.h"
#include "kernels/rms_norm/gpu.h"

namespace tessera {
namespace {

constexpr int64_t kMaxChunks = 256;          // of rows, each with a partial dweight
constexpr int64_t kMinChunkElements = 8192;  // keeps the partials small beside x

template <class S>
RmsNormCpu<S> loops_of(Isa isa) {
  return dispatch_isa(isa, []<Isa level>() { return rms_norm_cpu<level, S>(); });
}

template <class S>
void run_forward(Context& ctx, const RmsNormForwardData<S>& data) {
  if (!is_gpu(ctx.device())) return loops_of<S>(ctx.isa()).forward(ctx.threads(), data);
  dispatch_gpu(ctx.device(),
               [&]<Device device>() { rms_norm_gpu<device, S>().forward(ctx, data); });
}

template <class S>
void run_backward(Context& ctx, const RmsNormBackwardData<S>& data) {
  if (!is_gpu(ctx.device())) return loops_of<S>(ctx.isa()).backward(ctx.threads(), data);
  dispatch_gpu(ctx.device(),
               [&]<Device device>() { rms_norm_gpu<device, S>().backward(ctx, data); });
}

RmsNormSizes sizes_of(const Tensor& x) {
  return {.rows = x.shape(0), .heads = x.rank() == 3 ? x.shape(1) : 1, .columns = x.shape(-1)};
}

template <class T, class S = std::remove_const_t<T>>
HeadRows<T> rows_of(const Tensor& x) {
  if (!x.defined()) return {.data = nullptr, .row_stride = 0, .head_stride = 0};
  return {.data = x.data<S>(),
          .row_stride = x.stride(0),
          .head_stride = x.rank() == 3 ? x.stride(1) : 0};
}

template <class T>
T* data_of(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}

DType weight_dtype(const Tensor& x) {
  return x.dtype() == DType::f64 ? DType::f64 : DType::f32;
}

void check_like_x(std::string_view name, const Tensor& tensor, const Tensor& x) {
  if (!tensor.defined()) return;
  check(tensor.shape() == x.shape() && tensor.dtype() == x.dtype(),
        "rms_norm: {} {} of shape {} does not match x, {} of shape {}", tensor.dtype(), name,
        tensor.shape(), x.dtype(), x.shape());
  check(tensor.stride(-1) == 1 || tensor.shape(-1) == 1,
        "rms_norm: {} has stride {} between columns, not 1", name, tensor.stride(-1));
}

void check_vector(std::string_view name, const Tensor& vector, const Tensor& x, int64_t elements) {
  if (!vector.defined()) return;
  check(vector.elements() == elements && vector.is_contiguous(),
        "rms_norm: {} of shape {} does not match x of shape {}", name, vector.shape(), x.shape());
  check(vector.dtype() == weight_dtype(x), "rms_norm: {} has dtype {}; with x of dtype {} it is {}",
        name, vector.dtype(), x.dtype(), weight_dtype(x));
}

void check_common(const Tensor& x, const Tensor& weight, const Tensor& rstd) {
  check(x.rank() == 2 || x.rank() == 3, "rms_norm: x of shape {} is neither [R, C] nor [N, H, C]",
        x.shape());
  check(sizes_of(x).heads * sizes_of(x).columns > 0, "rms_norm: x of shape {} has no columns",
        x.shape());
  check_like_x("x", x, x);
  check_vector("weight", weight, x, x.shape(-1));
  check_vector("rstd", rstd, x, sizes_of(x).rows * sizes_of(x).heads);
}

int64_t rows_per_chunk(const RmsNormSizes& size) {
  const int64_t row = std::max<int64_t>(1, size.heads * size.columns);
  return std::max((size.rows + kMaxChunks - 1) / kMaxChunks, (kMinChunkElements + row - 1) / row);
}

double bytes_of(std::initializer_list<Tensor> tensors) {
  double bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.defined() ? double(tensor.bytes()) : 0;
  return bytes;
}

}  // namespace

KernelCost cost(const RmsNormForwardArgs& a) {
  return {.flops = double(a.x.elements()) * (a.residual.defined() ? 5 : 4),
          .bytes = bytes_of({a.x, a.residual, a.weight, a.sum, a.y, a.rstd})};
}

KernelCost cost(const RmsNormBackwardArgs& a) {
  return {
      .flops = double(a.x.elements()) * (9 + (a.dsum.defined() ? 1 : 0) + (a.y.defined() ? 2 : 0)),
      .bytes = bytes_of({a.x, a.weight, a.rstd, a.dy, a.dsum, a.dx, a.y, a.dweight})};
}

void rms_norm_forward(Context& ctx, const RmsNormForwardArgs& a) {
  check_common(a.x, a.weight, a.rstd);
  check_like_x("y", a.y, a.x);
  check_like_x("residual", a.residual, a.x);
  check_like_x("sum", a.sum, a.x);
  check(a.sum.defined() == a.residual.defined(), "rms_norm: sum and residual belong together");
  const KernelScope scope(ctx, "rms_norm_forward", cost(a));
  if (ctx.is_meta() || a.x.elements() == 0) return;
  dispatch_compute("rms_norm", a.x.dtype(), [&]<class S>() {
    using W = RmsNormWeight<S>;
    run_forward<S>(ctx, {.size = sizes_of(a.x),
                         .x = rows_of<const S>(a.x),
                         .residual = rows_of<const S>(a.residual),
                         .weight = a.weight.data<W>(),
                         .sum = rows_of<S>(a.sum),
                         .y = rows_of<S>(a.y),
                         .rstd = data_of<W>(a.rstd),
                         .eps = a.eps});
  });
}

void rms_norm_backward(Context& ctx, const RmsNormBackwardArgs& a) {
  check_common(a.x, a.weight, a.rstd);
  check_like_x("dy", a.dy, a.x);
  check_like_x("dsum", a.dsum, a.x);
  check_like_x("dx", a.dx, a.x);
  check_like_x("y", a.y, a.x);
  check_vector("dweight", a.dweight, a.x, a.x.shape(-1));
  const RmsNormSizes size = sizes_of(a.x);
  const int64_t step = rows_per_chunk(size), chunks = (size.rows + step - 1) / step;
  const KernelScope scope(ctx, "rms_norm_backward", cost(a));
  const Tensor partials =
      ctx.empty({chunks, size.columns}, weight_dtype(a.x), MemoryTag::workspace);
  if (ctx.is_meta()) return;
  dispatch_compute("rms_norm", a.x.dtype(), [&]<class S>() {
    using W = RmsNormWeight<S>;
    run_backward<S>(ctx, {.size = size,
                          .x = rows_of<const S>(a.x),
                          .dy = rows_of<const S>(a.dy),
                          .dsum = rows_of<const S>(a.dsum),
                          .weight = a.weight.data<W>(),
                          .rstd = a.rstd.data<W>(),
                          .dx = rows_of<S>(a.dx),
                          .y = rows_of<S>(a.y),
                          .dweight = data_of<W>(a.dweight),
                          .accumulate_dweight = a.accumulate_dweight,
                          .rows_per_chunk = step,
                          .partials = partials.data<W>()});
  });
}

}  // namespace tessera
