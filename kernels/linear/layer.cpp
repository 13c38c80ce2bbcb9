#include "kernels/linear/layer.h"

#include "kernels/linear/kernel.h"

namespace tessera {
namespace {

void check_inputs(const Tensor& x, const Tensor& weight) {
  check(
      x.rank() == 2 && weight.rank() == 2 && x.shape(1) == weight.shape(1),
      "linear: weight of shape {} does not match x of shape {}; [out, in] and [R, in] go together",
      weight.shape(), x.shape());
  check(x.dtype() == weight.dtype(), "linear: x is {}, the weight {}; use one dtype", x.dtype(),
        weight.dtype());
}

}  // namespace

Tensor linear_forward(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_inputs(x, weight);
  Tensor y = ctx.empty({x.shape(0), weight.shape(0)}, x.dtype());
  matmul(ctx, {.a = x, .b = weight, .c = y, .bias = bias, .transpose_b = true});
  return y;
}

void linear_input_gradient(Context& ctx, const Tensor& dy, const Tensor& weight, const Tensor& dx,
                           bool accumulate) {
  matmul(ctx, {.a = dy, .b = weight, .c = dx, .bias = {}, .accumulate = accumulate});
}

void linear_weight_gradient(Context& ctx, GradSink& grads, int input, const Tensor& dy,
                            const Tensor& x) {
  if (!grads.wanted(input)) return;
  const auto [dweight, accumulate] = grads.target(ctx, input, {dy.shape(1), x.shape(1)}, x.dtype());
  matmul(
      ctx,
      {.a = dy, .b = x, .c = dweight, .bias = {}, .transpose_a = true, .accumulate = accumulate});
}

void linear_bias_gradient(Context& ctx, GradSink& grads, int input, const Tensor& dy) {
  if (!grads.wanted(input)) return;
  const DType dtype = dy.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const auto [dbias, accumulate] = grads.target(ctx, input, {dy.shape(1)}, dtype);
  sum_rows(ctx, {.x = dy, .sums = dbias, .accumulate = accumulate});
}

}  // namespace tessera
