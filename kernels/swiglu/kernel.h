// SwiGLU kernels over gate_up [R, 2F]: F columns of gate, then F of up.
#pragma once

#include "core/context.h"

namespace tessera {

// All tensors are contiguous and of one dtype: f32, bf16 or f64.

struct SwigluForwardArgs {
  Tensor gate_up;  // [R, 2F]
  Tensor y;        // [R, F]: silu(gate) * up
};

//   s = sigmoid(gate):  dgate = dy * up * s * (1 + gate * (1 - s)),  dup = dy * gate * s
struct SwigluBackwardArgs {
  Tensor gate_up;   // [R, 2F]
  Tensor dy;        // [R, F]
  Tensor dgate_up;  // [R, 2F]; may be gate_up
  Tensor y;         // [R, F]: receives forward's output again, the same bits; may be dy
};

void swiglu_forward(Context& ctx, const SwigluForwardArgs& args);
void swiglu_backward(Context& ctx, const SwigluBackwardArgs& args);

KernelCost cost(const SwigluForwardArgs& args);
KernelCost cost(const SwigluBackwardArgs& args);

}  // namespace tessera
