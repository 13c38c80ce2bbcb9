// AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019) over any number of
// tensors in one pass.
#pragma once

#include <span>

#include "core/context.h"

namespace tessera {

// One parameter and its optimizer state: contiguous, all of the parameter's shape.
struct AdamWTensor {
  Tensor param;  // f32 or f64: the master copy; or bf16, rounded stochastically
  Tensor low;    // bf16 working copy, written as the rounded f32 parameter; may be undefined
  Tensor grad;   // of the parameter's dtype, f32 for bf16, as are m and v
  Tensor m;      // running mean of the gradient
  Tensor v;      // running mean of its square
  bool decay = false;
  uint32_t purpose = 0;  // with the context's seed, the step and the element: what decides how a
                         // bf16 parameter is rounded; see purpose_id()
};

// With g = grad_scale * grad, as PyTorch computes it:
//   m = beta1 m + (1 - beta1) g           v = beta2 v + (1 - beta2) g^2
//   param = param (1 - lr weight_decay)                                    where `decay`
//   param -= lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
struct AdamWArgs {
  std::span<const AdamWTensor> tensors;
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;       // counts from 1
  double grad_scale = 1;  // of clipping
};

KernelCost cost(const AdamWArgs& args);
// Throws Error for shapes or dtypes that do not fit.
void adamw_step(Context& ctx, const AdamWArgs& args);

}  // namespace tessera
