#include "kernels/linear/op.h"

#include "kernels/linear/layer.h"

namespace tessera {
namespace {

struct Linear {
  static constexpr std::string_view kName = "linear";
  bool x_wants_grad, weight_wants_grad, has_bias;

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor &x = in[0], &weight = in[1];
    Tensor y = linear_forward(ctx, x, weight, has_bias ? in[2] : Tensor());
    saved.keep({weight_wants_grad ? x : Tensor(), x_wants_grad ? weight : Tensor()});
    return {std::move(y)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    Tensor &x = saved[0], &dy = grad_out[0];
    const Tensor& weight = saved[1];
    linear_weight_gradient(ctx, grads, 1, dy, x);
    x = Tensor();  // before there is a dx
    if (grads.wanted(0)) {
      const auto [dx, accumulate] =
          grads.target(ctx, 0, {dy.shape(0), weight.shape(1)}, dy.dtype());
      linear_input_gradient(ctx, dy, weight, dx, accumulate);
    }
    if (has_bias) linear_bias_gradient(ctx, grads, 2, dy);
  }
};

}  // namespace

Var linear(Context& ctx, const Var& x, const Var& weight) {
  return apply_single(ctx, Linear{x.requires_grad(), weight.requires_grad(), false}, {x, weight});
}

Var linear(Context& ctx, const Var& x, const Var& weight, const Var& bias) {
  return apply_single(ctx, Linear{x.requires_grad(), weight.requires_grad(), true},
                      {x, weight, bias});
}

}  // namespace tessera
