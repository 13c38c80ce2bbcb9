// Elementwise kernels over f32, bf16 and f64 tensors. Tensors are contiguous unless stated.
#pragma once

#include "core/context.h"

namespace tessera {

// into += from, of equal shapes, and equal dtypes or f32 += bf16. Has the type AddInto of
// core/autograd/node.h. bf16 sums are rounded once.
void add_into(Context& ctx, const Tensor& into, const Tensor& from);

// sum = a + b, all of one shape and dtype.
void add_tensors(Context& ctx, const Tensor& a, const Tensor& b, const Tensor& sum);

// x *= factor.
void scale(Context& ctx, const Tensor& x, double factor);

// x *= factor[0], where factor is one f32 (f64 for f64 x) on x's device. A factor of 1, as the
// gradient of a loss has, costs nothing, and its cost is given so.
void scale_by(Context& ctx, const Tensor& x, const Tensor& factor);

// to = from, rounded to nearest even in to's dtype; equal dtypes copy. Both contiguous, or of rank
// 2 with contiguous rows (column slices).
void convert(Context& ctx, const Tensor& to, const Tensor& from);

// Whether x holds neither an infinity nor a NaN; true on `meta`. Waits for a GPU.
bool all_finite(Context& ctx, const Tensor& x);

KernelCost add_into_cost(const Tensor& into, const Tensor& from);
KernelCost add_tensors_cost(const Tensor& a);
KernelCost scale_cost(const Tensor& x);
KernelCost scale_by_cost(const Tensor& factor);
KernelCost convert_cost(const Tensor& to, const Tensor& from);
KernelCost all_finite_cost(const Tensor& x);

}  // namespace tessera
