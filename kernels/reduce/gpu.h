// The reduction kernels of one GPU device. Device pointers.
#pragma once

#include <span>

#include "core/context.h"

namespace tessera {

// Elements that one partial sum covers, on every device.
inline constexpr int64_t kReduceBlock = 32768;

template <class S>
struct SquaresOf {
  const S* data;
  int64_t elements;  // at least 1
  double* partials;  // [ceil(elements / kReduceBlock)]
};

// Sums the squares of each block of each tensor.
template <Device device, class S>
void partial_squares_gpu(Context& ctx, std::span<const SquaresOf<S>> tensors);

// total = the sum of n values.
template <Device device>
void sum_gpu(Context& ctx, const double* values, int64_t n, double* total);

}  // namespace tessera
