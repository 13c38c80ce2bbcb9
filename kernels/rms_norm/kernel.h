// RMSNorm kernels: y = x * rstd * weight, rstd = 1 / sqrt(mean(x^2) + eps), over the last
// dimension.
#pragma once

#include "core/context.h"

namespace tessera {

// Tensors "like x" have its shape and dtype (f32, bf16 or f64): [R, C], or heads [N, H, C], with
// any strides but a contiguous last dimension. weight, rstd and dweight are f32 (f64 for f64 x) and
// contiguous.

struct RmsNormForwardArgs {
  Tensor x;
  Tensor residual;  // like x, or undefined
  Tensor weight;    // [C]
  Tensor sum;   // like x: receives x + residual, which is what is normalised; only with residual
  Tensor y;     // like x
  Tensor rstd;  // [R] or [N, H]; undefined if not wanted
  float eps;
};

//   g = dy * weight,  xhat = x * rstd
//   dx = rstd * (g - xhat * mean(g * xhat)) + dsum,  dweight = sum over rows of dy * xhat
struct RmsNormBackwardArgs {
  Tensor x, weight, rstd;  // as in forward; x is the sum where there was a residual
  Tensor dy;               // like x
  Tensor dsum;             // like x: a gradient of x from elsewhere; undefined for none
  Tensor dx;               // like x; may be dy or dsum; undefined if not wanted
  Tensor
      y;  // like x: receives forward's y again, the same bits; may be dy; undefined if not wanted
  Tensor dweight;           // [C]; undefined if not wanted
  bool accumulate_dweight;  // add to dweight instead of overwriting it
};

void rms_norm_forward(Context& ctx, const RmsNormForwardArgs& args);
// dweight does not depend on the number of threads. Workspace: at most 256 rows of C.
void rms_norm_backward(Context& ctx, const RmsNormBackwardArgs& args);

KernelCost cost(const RmsNormForwardArgs& args);
KernelCost cost(const RmsNormBackwardArgs& args);

}  // namespace tessera
