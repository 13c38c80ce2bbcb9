// Matrix products on row-major matrices: on `cuda` by cuBLASLt; elsewhere by oneDNN for f32 and
// bf16, a plain loop for f64.
#pragma once

#include "core/context.h"

namespace tessera {

// c = op(a) op(b) (+ bias), or c += op(a) op(b) with `accumulate`; op transposes where asked to.
// Rows may be further apart than they are long, but the elements of a row are adjacent.
// dtypes of a, b -> c: f32 -> f32; bf16 -> bf16 or f32, accumulated in f32; f64 -> f64.
struct MatmulArgs {
  Tensor a;     // [M, K]; [K, M] with transpose_a
  Tensor b;     // [K, N]; [N, K] with transpose_b
  Tensor c;     // [M, N]
  Tensor bias;  // [N] f32 (f64 where a is), added to every row; or undefined; not with accumulate
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;
};

KernelCost cost(const MatmulArgs& args);
// Throws Error for shapes, strides or dtypes that do not fit. Results may depend on the number of
// threads in the last bits, as oneDNN's do, or on the GPU, for which cuBLASLt chooses its
// algorithms.
void matmul(Context& ctx, const MatmulArgs& args);

// sums = (sums +) the sum of the rows of x: x [R, C] -> [C] f32 (f64 where x is).
struct SumRowsArgs {
  Tensor x;
  Tensor sums;
  bool accumulate = false;
};

KernelCost cost(const SumRowsArgs& args);
void sum_rows(Context& ctx, const SumRowsArgs& args);

}  // namespace tessera
