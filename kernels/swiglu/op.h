// SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020) as a differentiable op.
#pragma once

#include "core/autograd/op.h"

namespace tessera {

// silu(gate) * up of gate_up [R, 2F] (columns: F of gate, F of up; contiguous f32, bf16 or f64)
// -> [R, F], with silu(x) = x / (1 + exp(-x)). Saves gate_up; backward writes the gradient into its
// memory if nothing else holds it.
Var swiglu(Context& ctx, const Var& gate_up);

}  // namespace tessera
