// Token embedding as a differentiable op.
#pragma once

#include "core/autograd/op.h"

namespace tessera {

// Rows `tokens` (i32 [N]) of table [V, d] (contiguous f32, bf16 or f64) -> [N, d]. A token outside
// [0, V) is an error that names its place; on a GPU its row becomes NaN. Saves the tokens. The
// table's gradient is f32 (f64 for f64), summed in the order of the tokens.
Var embedding(Context& ctx, const Tensor& tokens, const Var& table);

}  // namespace tessera
