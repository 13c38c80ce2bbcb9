// SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020) and the linear layer that takes its
// output, as one differentiable op.
#pragma once

#include "core/autograd/op.h"

namespace tessera {

// h = silu(gate) * up, y = h W^T:  gate_up [R, 2F] (columns: F of gate, F of up; contiguous f32,
// bf16 or f64), weight [out, F] of that dtype -> [R, out], with silu(x) = x / (1 + exp(-x)).
// Saves gate_up and the weight, but not h: backward makes it again in the pass that computes the
// gradient of gate_up, in the place of its own gradient. The gradient of gate_up is written into
// its memory if nothing else holds it.
Var swiglu_linear(Context& ctx, const Var& gate_up, const Var& weight);

}  // namespace tessera
