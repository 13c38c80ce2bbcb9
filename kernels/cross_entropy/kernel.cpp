#include "kernels/cross_entropy/kernel.h"

#include "kernels/cross_entropy/cpu.h"
#include "kernels/cross_entropy/gpu.h"
#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/gpu/dispatch.h"

namespace tessera {
namespace {

void check_rows(std::string_view name, const Tensor& x) {
  check(x.rank() == 2 && x.stride(1) == 1 && x.shape(1) > 0,
        "cross_entropy: {} of shape {} and strides {} must have contiguous rows [N, V]", name,
        x.shape(), x.strides());
}

void check_args(const CrossEntropyArgs& p) {
  check_rows("logits", p.logits);
  const Shape rows{p.logits.shape(0)};
  check(p.targets.shape() == rows && p.targets.dtype() == DType::i32 && p.targets.is_contiguous(),
        "cross_entropy: targets {} {} must be i32 {} for logits of shape {}", p.targets.dtype(),
        p.targets.shape(), rows, p.logits.shape());
  const DType dtype = p.logits.dtype(), real = dtype == DType::f64 ? DType::f64 : DType::f32;
  check(p.losses.shape() == rows && p.losses.dtype() == real && p.losses.is_contiguous(),
        "cross_entropy: losses {} {} must be {} {}", p.losses.dtype(), p.losses.shape(), real,
        rows);
  if (!p.dlogits.defined()) return;
  check_rows("dlogits", p.dlogits);
  const DType grad = p.dlogits.dtype();
  check(p.dlogits.shape() == p.logits.shape() &&
            (grad == dtype || (grad == DType::bf16 && dtype == DType::f32)),
        "cross_entropy: dlogits {} {} do not match logits {} {}", grad, p.dlogits.shape(), dtype,
        p.logits.shape());
}

template <class L, class D>
void run(Context& ctx, const CrossEntropyArgs& p) {
  using Rows = CrossEntropyRows<L, D>;
  using Real = typename Rows::Real;
  const Rows rows{.logits = p.logits.data<L>(),
                  .targets = p.targets.data<int32_t>(),
                  .losses = p.losses.data<Real>(),
                  .dlogits = p.dlogits.defined() ? p.dlogits.data<D>() : nullptr,
                  .rows = p.logits.shape(0),
                  .vocab = p.logits.shape(1),
                  .logits_stride = p.logits.stride(0),
                  .dlogits_stride = p.dlogits.defined() ? p.dlogits.stride(0) : 0,
                  .ignore_index = p.ignore_index,
                  .z_loss = Real(p.z_loss),
                  .scale = Real(p.scale)};
  if (is_gpu(ctx.device())) {
    if (rows.rows == 0) return;
    return dispatch_gpu(ctx.device(),
                        [&]<Device device>() { cross_entropy_gpu<device, L, D>(ctx, rows); });
  }
  dispatch_isa(ctx.isa(), [&]<Isa isa>() { cross_entropy_cpu<isa>(ctx.threads(), rows); });
}

template <class Real>
void sum_losses(Context& ctx, const Tensor& losses, double scale, const Tensor& total) {
  const Real* values = losses.data<Real>();
  Real* const result = total.data<Real>();
  const int64_t n = losses.elements();
  if (is_gpu(ctx.device())) {
    return dispatch_gpu(ctx.device(), [&]<Device device>() {
      total_loss_gpu<device, Real>(ctx, values, n, scale, result);
    });
  }
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(values[i]);
  *result = Real(sum * scale);
}

}  // namespace

void check_targets(const Tensor& targets, int64_t vocab, int32_t ignore_index) {
  if (targets.device() != Device::cpu) return;
  const int32_t* values = targets.data<int32_t>();
  for (int64_t i = 0; i < targets.elements(); ++i) {
    check((values[i] >= 0 && values[i] < vocab) || values[i] == ignore_index,
          "cross_entropy: target {} at position {} is outside the vocabulary of {}; ignored "
          "positions hold {}",
          values[i], i, vocab, ignore_index);
  }
}

// Per logit: maximum, exponential (counted as 8), sum, and two operations for the gradient.
KernelCost cost(const CrossEntropyArgs& p) {
  return {.flops = (p.dlogits.defined() ? 12.0 : 10.0) * double(p.logits.elements()),
          .bytes = double(p.logits.bytes()) + double(p.targets.bytes()) + double(p.losses.bytes()) +
                   (p.dlogits.defined() ? double(p.dlogits.bytes()) : 0)};
}

void cross_entropy_rows(Context& ctx, const CrossEntropyArgs& args) {
  check_args(args);
  args.losses.storage()->bump_version();
  if (args.dlogits.defined()) args.dlogits.storage()->bump_version();
  const KernelScope scope(ctx, "cross_entropy", cost(args));
  if (ctx.is_meta()) return;
  check_targets(args.targets, args.logits.shape(1), args.ignore_index);
  if (args.logits.dtype() == DType::f64) return run<double, double>(ctx, args);
  if (args.logits.dtype() == DType::bf16) return run<bf16, bf16>(ctx, args);
  check(args.logits.dtype() == DType::f32,
        "cross_entropy: logits of dtype {}; use f32, bf16 or f64", args.logits.dtype());
  const bool rounds = args.dlogits.defined() && args.dlogits.dtype() == DType::bf16;
  rounds ? run<float, bf16>(ctx, args) : run<float, float>(ctx, args);
}

void total_loss(Context& ctx, const Tensor& losses, double scale, const Tensor& total) {
  check(total.elements() == 1 && total.dtype() == losses.dtype() && losses.is_contiguous(),
        "cross_entropy: the total {} of shape {} must be one {}", total.dtype(), total.shape(),
        losses.dtype());
  if (ctx.is_meta()) return;
  losses.dtype() == DType::f64 ? sum_losses<double>(ctx, losses, scale, total)
                               : sum_losses<float>(ctx, losses, scale, total);
}

}  // namespace tessera
