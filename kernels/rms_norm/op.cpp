#include "kernels/rms_norm/op.h"

#include "kernels/elementwise/kernel.h"
#include "kernels/rms_norm/kernel.h"

namespace tessera {
namespace {

DType statistics_dtype(const Tensor& x) {
  return x.dtype() == DType::f64 ? DType::f64 : DType::f32;
}

// Puts where dweight goes into args, if it is wanted.
void set_dweight(Context& ctx, GradSink& grads, int input, RmsNormBackwardArgs& args) {
  if (!grads.wanted(input)) return;
  const auto [tensor, accumulate] =
      grads.target(ctx, input, args.weight.shape(), args.weight.dtype());
  args.dweight = tensor;
  args.accumulate_dweight = accumulate;
}

struct RmsNorm {
  static constexpr std::string_view kName = "rms_norm";
  float eps;

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor &x = in[0], &weight = in[1];
    Tensor y = ctx.empty(x.shape(), x.dtype()), rstd;
    if (saved.wanted()) rstd = ctx.empty({x.shape(0)}, statistics_dtype(x));
    rms_norm_forward(
        ctx,
        {.x = x, .residual = {}, .weight = weight, .sum = {}, .y = y, .rstd = rstd, .eps = eps});
    saved.keep({x, weight, rstd});
    return {std::move(y)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    RmsNormBackwardArgs args{.x = saved[0],
                             .weight = saved[1],
                             .rstd = saved[2],
                             .dy = grad_out[0],
                             .dsum = {},
                             .dx = {},
                             .dweight = {},
                             .accumulate_dweight = false};
    if (grads.wanted(0)) {
      const auto [dx, accumulate] = grads.target(ctx, 0, args.x.shape(), args.x.dtype());
      args.dx = dx;
      if (accumulate) args.dsum = dx;
    }
    set_dweight(ctx, grads, 1, args);
    rms_norm_backward(ctx, args);
  }
};

struct AddRmsNorm {
  static constexpr std::string_view kName = "add_rms_norm";
  float eps;

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor &x = in[0], &residual = in[1], &weight = in[2];
    Tensor sum = ctx.empty(x.shape(), x.dtype()), y = ctx.empty(x.shape(), x.dtype()), rstd;
    if (saved.wanted()) rstd = ctx.empty({x.shape(0)}, statistics_dtype(x));
    rms_norm_forward(ctx, {.x = x,
                           .residual = residual,
                           .weight = weight,
                           .sum = sum,
                           .y = y,
                           .rstd = rstd,
                           .eps = eps});
    saved.keep({sum, weight, rstd});
    return {std::move(sum), std::move(y)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const Tensor &dsum = grad_out[0], &dy = grad_out[1];
    const Tensor dx = place_for_dx(ctx, dsum, dy);
    if (dy.defined()) {
      RmsNormBackwardArgs args{.x = saved[0],
                               .weight = saved[1],
                               .rstd = saved[2],
                               .dy = dy,
                               .dsum = dsum,
                               .dx = dx,
                               .dweight = {},
                               .accumulate_dweight = false};
      set_dweight(ctx, grads, 2, args);
      rms_norm_backward(ctx, args);
    }
    if (grads.wanted(0)) grads.put(ctx, 0, dx);
    if (grads.wanted(1)) grads.put(ctx, 1, dx);
  }

  static Tensor place_for_dx(Context& ctx, const Tensor& dsum, const Tensor& dy) {
    if (!dy.defined() || (dsum.defined() && dsum.is_exclusive())) return dsum;
    return dy.is_exclusive() ? dy : ctx.empty(dy.shape(), dy.dtype());
  }
};

// The three parts of qkv's columns.
struct QkvParts {
  Tensor q, k;  // [N, H, D]
  Tensor v;     // [N, Hkv D]
};

struct QkNorm {
  static constexpr std::string_view kName = "qk_norm";
  int64_t heads, kv_heads;
  float eps;

  QkvParts split(const Tensor& qkv) const {
    const int64_t all = heads + 2 * kv_heads, dim = qkv.shape(1) / all;
    const Tensor by_head = qkv.unflatten(1, all, dim);
    return {.q = by_head.slice(1, 0, heads),
            .k = by_head.slice(1, heads, heads + kv_heads),
            .v = qkv.slice(1, (heads + kv_heads) * dim, all * dim)};
  }

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor& qkv = in[0];
    check(qkv.rank() == 2 && in[1].rank() == 1 && heads > 0 && kv_heads > 0 &&
              qkv.shape(1) == (heads + 2 * kv_heads) * in[1].shape(0),
          "qk_norm: qkv of shape {} does not hold {} + 2 * {} heads of q_weight's shape {}",
          qkv.shape(), heads, kv_heads, in[1].shape());
    Tensor y = ctx.empty(qkv.shape(), qkv.dtype()), q_rstd, k_rstd;
    if (saved.wanted()) {
      q_rstd = ctx.empty({qkv.shape(0), heads}, statistics_dtype(qkv));
      k_rstd = ctx.empty({qkv.shape(0), kv_heads}, statistics_dtype(qkv));
    }
    const QkvParts from = split(qkv), to = split(y);
    normalise(ctx, from.q, in[1], to.q, q_rstd);
    normalise(ctx, from.k, in[2], to.k, k_rstd);
    convert(ctx, to.v, from.v);
    saved.keep({qkv, in[1], in[2], q_rstd, k_rstd});
    return {std::move(y)};
  }

  void normalise(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& y,
                 const Tensor& rstd) const {
    rms_norm_forward(
        ctx,
        {.x = x, .residual = {}, .weight = weight, .sum = {}, .y = y, .rstd = rstd, .eps = eps});
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const Tensor dy = std::move(grad_out[0]);
    const Tensor dx = dy.is_exclusive() ? dy : ctx.empty(dy.shape(), dy.dtype());
    const QkvParts x = split(saved[0]), from = split(dy), to = split(dx);
    if (dx.storage() != dy.storage()) convert(ctx, to.v, from.v);
    backward_part(ctx, grads, 1, {x.q, saved[1], saved[3], from.q, {}, to.q, {}, false});
    backward_part(ctx, grads, 2, {x.k, saved[2], saved[4], from.k, {}, to.k, {}, false});
    if (grads.wanted(0)) grads.put(ctx, 0, dx);
  }

  static void backward_part(Context& ctx, GradSink& grads, int input, RmsNormBackwardArgs args) {
    set_dweight(ctx, grads, input, args);
    rms_norm_backward(ctx, args);
  }
};

}  // namespace

Var rms_norm(Context& ctx, const Var& x, const Var& weight, float eps) {
  check(x.value().rank() == 2, "rms_norm: x of shape {} is not [R, C]", x.value().shape());
  return apply_single(ctx, RmsNorm{eps}, {x, weight});
}

AddNorm add_rms_norm(Context& ctx, const Var& x, const Var& residual, const Var& weight,
                     float eps) {
  check(x.value().rank() == 2, "add_rms_norm: x of shape {} is not [R, C]", x.value().shape());
  std::vector<Var> outputs = apply(ctx, AddRmsNorm{eps}, {x, residual, weight});
  return {.sum = std::move(outputs[0]), .normed = std::move(outputs[1])};
}

Var qk_norm(Context& ctx, const Var& qkv, const Var& q_weight, const Var& k_weight, int64_t heads,
            int64_t kv_heads, float eps) {
  return apply_single(ctx, QkNorm{heads, kv_heads, eps}, {qkv, q_weight, k_weight});
}

}  // namespace tessera
