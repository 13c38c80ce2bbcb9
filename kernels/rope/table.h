// The cosines and sines that rope multiplies with.
#pragma once

#include "core/context.h"
#include "kernels/rope/config.h"

namespace tessera {

struct RopeTable {
  Tensor cos, sin;  // [positions, D/2], f32 (f64 for f64 activations)
};

// The table of positions 0 .. positions - 1 for heads of head_dim (even) elements, computed in
// double. Error for settings outside their range (factor below 1, no original_length, ...).
RopeTable rope_table(Context& ctx, const RopeConfig& config, int64_t positions, int64_t head_dim,
                     DType dtype = DType::f32);

}  // namespace tessera
