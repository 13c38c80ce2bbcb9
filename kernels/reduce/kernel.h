// Reductions over whole tensors.
#pragma once

#include <span>

#include "core/context.h"

namespace tessera {

// The sum of the squares of all elements of all tensors (f32, bf16 or f64, contiguous), summed in
// f64 in an order that depends neither on the number of threads nor on the instruction set (a GPU
// has its own order). 0 on `meta`. Waits for a GPU.
double sum_of_squares(Context& ctx, std::span<const Tensor> tensors);

KernelCost sum_of_squares_cost(std::span<const Tensor> tensors);

}  // namespace tessera
