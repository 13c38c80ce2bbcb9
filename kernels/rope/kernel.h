// The RoPE kernel: turns pairs (j, j + D/2) of every head of q and k by their row's angles.
#pragma once

#include "core/context.h"

namespace tessera {

struct RopeArgs {
  Tensor x;          // [N, W], contiguous f32, bf16 or f64
  Tensor y;          // like x; may be x itself. Columns that are not rotated are copied
  Tensor positions;  // i32 [N], each in [0, P): else Error, or on a GPU a row of NaN
  Tensor cos, sin;   // [P, D/2], f32 (f64 for f64 x)
  int64_t heads;     // the first heads * D columns of x are rotated
  int64_t head_dim;  // D, even
  bool inverse;      // by the opposite angles: what backward does with the gradient
};

// Bumps the version of y.
void rope_rotate(Context& ctx, const RopeArgs& args);

KernelCost cost(const RopeArgs& args);

}  // namespace tessera
