// Matrix products on row-major matrices: oneDNN for f32 and bf16, a plain blocked loop for f64.
#pragma once

#include "core/context.h"

namespace tessera {

// c = op(a) op(b), or c += op(a) op(b) with `accumulate`; op transposes where asked to. Rows may be
// further apart than they are long, but the elements of a row are adjacent. dtypes of a, b -> c:
// f32 -> f32, bf16 -> bf16 or f32 (accumulated in f32), f64 -> f64.
struct MatmulArgs {
  Tensor a;  // [M, K]; [K, M] with transpose_a
  Tensor b;  // [K, N]; [N, K] with transpose_b
  Tensor c;  // [M, N]
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;
};

KernelCost cost(const MatmulArgs& args);
// Throws Error for shapes, strides or dtypes that do not fit.
void matmul(Context& ctx, const MatmulArgs& args);

}  // namespace tessera
