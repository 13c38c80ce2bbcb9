// Elementwise addition as a differentiable op. The in-place kernels (add_into, scale, convert,
// all_finite) are in kernel.h.
#pragma once

#include "core/autograd/op.h"
#include "kernels/elementwise/kernel.h"

namespace tessera {

// a + b, of equal shape and dtype (f32, bf16, f64), contiguous. Saves nothing.
Var add(Context& ctx, const Var& a, const Var& b);

}  // namespace tessera
