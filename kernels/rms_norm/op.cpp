#include "kernels/rms_norm/op.h"

#include "kernels/elementwise/kernel.h"
#include "kernels/linear/layer.h"
#include "kernels/rms_norm/kernel.h"

namespace tessera {
namespace {

DType statistics_dtype(const Tensor& x) {
  return x.dtype() == DType::f64 ? DType::f64 : DType::f32;
}

// Puts where the gradient of x, which is input 0, goes into args.
void set_dx(Context& ctx, GradSink& grads, RmsNormBackwardArgs& args) {
  const auto [dx, accumulate] = grads.target(ctx, 0, args.x.shape(), args.x.dtype());
  args.dx = dx;
  if (accumulate) args.dsum = dx;
}

// Hands the gradient of x + residual, which are inputs 0 and 1, to both.
void put_gradient_of_sum(Context& ctx, GradSink& grads, const Tensor& dsum) {
  if (grads.wanted(0)) grads.put(ctx, 0, dsum);
  if (grads.wanted(1)) grads.put(ctx, 1, dsum);
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
                             .y = {},
                             .dweight = {},
                             .accumulate_dweight = false};
    if (grads.wanted(0)) set_dx(ctx, grads, args);
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
                               .y = {},
                               .dweight = {},
                               .accumulate_dweight = false};
      set_dweight(ctx, grads, 2, args);
      rms_norm_backward(ctx, args);
    }
    put_gradient_of_sum(ctx, grads, dx);
  }

  static Tensor place_for_dx(Context& ctx, const Tensor& dsum, const Tensor& dy) {
    if (!dy.defined() || (dsum.defined() && dsum.is_exclusive())) return dsum;
    return dy.is_exclusive() ? dy : ctx.empty(dy.shape(), dy.dtype());
  }
};

// Inputs: x, the residual if there is one, norm_weight, weight, the bias if there is one. Outputs:
// the sum if there is a residual, y.
struct RmsNormLinear {
  static constexpr std::string_view kName = "rms_norm_linear";
  float eps;
  bool has_residual, has_bias;

  int norm_input() const { return has_residual ? 2 : 1; }

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor &x = in[0], &norm_weight = in[size_t(norm_input())];
    const Tensor &weight = in[size_t(norm_input()) + 1], bias = has_bias ? in.back() : Tensor();
    const Tensor normed = ctx.empty(x.shape(), x.dtype());
    Tensor sum, rstd;
    if (has_residual) sum = ctx.empty(x.shape(), x.dtype());
    if (saved.wanted()) rstd = ctx.empty({x.shape(0)}, statistics_dtype(x));
    rms_norm_forward(ctx, {.x = x,
                           .residual = has_residual ? in[1] : Tensor(),
                           .weight = norm_weight,
                           .sum = sum,
                           .y = normed,
                           .rstd = rstd,
                           .eps = eps});
    saved.keep({has_residual ? sum : x, norm_weight, rstd, weight});
    Tensor y = linear_forward(ctx, normed, weight, bias);
    if (has_residual) return {std::move(sum), std::move(y)};
    return {std::move(y)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const Tensor none, &sum = saved[0], &weight = saved[3], &dy = grad_out.back();
    const Tensor& dsum = has_residual ? grad_out[0] : none;
    if (!dy.defined()) return put_gradient_of_sum(ctx, grads, dsum);
    const Tensor normed = ctx.empty(sum.shape(), sum.dtype());
    linear_input_gradient(ctx, dy, weight, normed, false);  // its gradient, until rms_norm_backward
    RmsNormBackwardArgs args{.x = sum,
                             .weight = saved[1],
                             .rstd = saved[2],
                             .dy = normed,
                             .dsum = dsum,
                             .dx = {},
                             .y = normed,
                             .dweight = {},
                             .accumulate_dweight = false};
    if (has_residual) {
      args.dx = dsum.defined() && dsum.is_exclusive() ? dsum : ctx.empty(sum.shape(), sum.dtype());
    } else if (grads.wanted(0)) {
      set_dx(ctx, grads, args);
    }
    set_dweight(ctx, grads, norm_input(), args);
    rms_norm_backward(ctx, args);
    linear_weight_gradient(ctx, grads, norm_input() + 1, dy, normed);
    if (has_bias) linear_bias_gradient(ctx, grads, norm_input() + 2, dy);
    if (has_residual) put_gradient_of_sum(ctx, grads, args.dx);
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
    backward_part(ctx, grads, 1, {x.q, saved[1], saved[3], from.q, {}, to.q, {}, {}, false});
    backward_part(ctx, grads, 2, {x.k, saved[2], saved[4], from.k, {}, to.k, {}, {}, false});
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

NormLinear rms_norm_linear(Context& ctx, const Var& x, const std::optional<Var>& residual,
                           const Var& norm_weight, const Var& weight,
                           const std::optional<Var>& bias, float eps) {
  check(x.value().rank() == 2, "rms_norm: x of shape {} is not [R, C]", x.value().shape());
  std::vector<Var> inputs{x};
  if (residual) inputs.push_back(*residual);
  inputs.insert(inputs.end(), {norm_weight, weight});
  if (bias) inputs.push_back(*bias);
  const std::vector<Var> outputs =
      apply(ctx, RmsNormLinear{eps, residual.has_value(), bias.has_value()}, std::move(inputs));
  return {.sum = residual ? outputs.front() : x, .y = outputs.back()};
}

Var qk_norm(Context& ctx, const Var& qkv, const Var& q_weight, const Var& k_weight, int64_t heads,
            int64_t kv_heads, float eps) {
  return apply_single(ctx, QkNorm{heads, kv_heads, eps}, {qkv, q_weight, k_weight});
}

}  // namespace tessera
