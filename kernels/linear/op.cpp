#include "kernels/linear/op.h"

#include "kernels/linear/kernel.h"

namespace tessera {
namespace {

struct Linear {
  static constexpr std::string_view kName = "linear";
  bool x_wants_grad, weight_wants_grad, has_bias;

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor &x = in[0], &weight = in[1];
    Tensor y = ctx.empty({x.shape(0), weight.shape(0)}, x.dtype());
    matmul(ctx,
           {.a = x, .b = weight, .c = y, .bias = has_bias ? in[2] : Tensor(), .transpose_b = true});
    saved.keep({weight_wants_grad ? x : Tensor(), x_wants_grad ? weight : Tensor()});
    return {std::move(y)};
  }

  // dx = dy W,  dW = dy^T x,  db = the sum of dy's rows
  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    Tensor &x = saved[0], &dy = grad_out[0];
    const Tensor& weight = saved[1];
    if (grads.wanted(1)) {
      const auto [dweight, accumulate] = grads.target(ctx, 1, {dy.shape(1), x.shape(1)}, x.dtype());
      matmul(ctx, {.a = dy,
                   .b = x,
                   .c = dweight,
                   .bias = {},
                   .transpose_a = true,
                   .accumulate = accumulate});
    }
    x = Tensor();  // before there is a dx
    if (grads.wanted(0)) {
      const auto [dx, accumulate] =
          grads.target(ctx, 0, {dy.shape(0), weight.shape(1)}, dy.dtype());
      matmul(ctx, {.a = dy, .b = weight, .c = dx, .bias = {}, .accumulate = accumulate});
    }
    if (has_bias && grads.wanted(2)) {
      const DType dtype = dy.dtype() == DType::f64 ? DType::f64 : DType::f32;
      const auto [dbias, accumulate] = grads.target(ctx, 2, {dy.shape(1)}, dtype);
      sum_rows(ctx, {.x = dy, .sums = dbias, .accumulate = accumulate});
    }
  }
};

void check_inputs(const Tensor& x, const Tensor& weight) {
  check(
      x.rank() == 2 && weight.rank() == 2 && x.shape(1) == weight.shape(1),
      "linear: weight of shape {} does not match x of shape {}; [out, in] and [R, in] go together",
      weight.shape(), x.shape());
  check(x.dtype() == weight.dtype(), "linear: x is {}, the weight {}; use one dtype", x.dtype(),
        weight.dtype());
}

}  // namespace

Var linear(Context& ctx, const Var& x, const Var& weight) {
  check_inputs(x.value(), weight.value());
  return apply_single(ctx, Linear{x.requires_grad(), weight.requires_grad(), false}, {x, weight});
}

Var linear(Context& ctx, const Var& x, const Var& weight, const Var& bias) {
  check_inputs(x.value(), weight.value());
  return apply_single(ctx, Linear{x.requires_grad(), weight.requires_grad(), true},
                      {x, weight, bias});
}

}  // namespace tessera
