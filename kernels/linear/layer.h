// The parts of a linear layer y = x W^T (+ b), for the ops that contain one. x [R, in], W [out, in]
// and y [R, out] have one dtype: f32, bf16 or f64; b [out] is f32 (f64 where x is).
#pragma once

#include "core/autograd/op.h"

namespace tessera {

// bias: undefined for none. Throws Error for shapes or dtypes that do not fit.
Tensor linear_forward(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias);

// dx = dy W
void linear_input_gradient(Context& ctx, const Tensor& dy, const Tensor& weight, const Tensor& dx,
                           bool accumulate);
// dW = dy^T x for input `input` of the op, if it is wanted.
void linear_weight_gradient(Context& ctx, GradSink& grads, int input, const Tensor& dy,
                            const Tensor& x);
// db = the sum of dy's rows for input `input` of the op, if it is wanted.
void linear_bias_gradient(Context& ctx, GradSink& grads, int input, const Tensor& dy);

}  // namespace tessera
