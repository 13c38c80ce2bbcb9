// y = x W^T (+ b). Saved for backward: x, if the weight wants a gradient, and the weight, if x
// does.
#pragma once

#include "core/autograd/op.h"

namespace tessera {

// x [R, in], weight [out, in] of the same dtype (f32, bf16 or f64) -> [R, out] of that dtype. The
// rows of x may be further apart than they are long.
Var linear(Context& ctx, const Var& x, const Var& weight);
// bias [out], f32 (f64 where x is).
Var linear(Context& ctx, const Var& x, const Var& weight, const Var& bias);

}  // namespace tessera
