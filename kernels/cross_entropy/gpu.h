// The cross-entropy kernels of one GPU device. Device pointers.
#pragma once

#include "core/context.h"
#include "kernels/cross_entropy/cpu.h"

namespace tessera {

// A row whose target is neither in the vocabulary nor ignored has loss and gradient NaN: the host
// cannot look. rows is above 0.
template <Device device, class L, class D>
void cross_entropy_gpu(Context& ctx, const CrossEntropyRows<L, D>& args);

// total = scale * the sum of n losses.
template <Device device, class Real>
void total_loss_gpu(Context& ctx, const Real* losses, int64_t n, double scale, Real* total);

}  // namespace tessera
