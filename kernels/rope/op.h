// Rotary position embeddings (Su et al., "RoFormer", 2021) as a differentiable op that works in
// place. Element j of a head pairs with element j + D/2 (the convention of Hugging Face's Llama).
#pragma once

#include "core/autograd/op.h"
#include "kernels/rope/table.h"

namespace tessera {

// Rotates the q and k heads of qkv [N, (heads + 2 kv_heads) head_dim] (columns: q heads, k heads, v
// heads; contiguous f32, bf16 or f64) by their rows' positions, i32 [N], and returns it; v is
// untouched. A position outside the table is an error; on a GPU its row becomes NaN.
//
// The rotation overwrites qkv's memory and bumps its version: no copy is made or saved. That is
// safe on the output of an op that does not save its output, such as linear or qk_norm. Where
// something did save it, its backward reports the change. A leaf (a parameter, or the input of a
// recomputed segment, which would be rotated again) is refused. Backward rotates the gradient back,
// in place unless something else holds it. Keeps positions and table, which all layers share.
Var rope(Context& ctx, Var qkv, const Tensor& positions, const RopeTable& table, int64_t heads,
         int64_t kv_heads, int64_t head_dim);

}  // namespace tessera
