// The AdamW kernel of one GPU device.
#pragma once

#include <span>

#include "core/context.h"
#include "kernels/adamw/cpu.h"

namespace tessera {

// Whole tensors, of at least one element, as blocks of device pointers. T: float or double.
template <Device device, class T>
void adamw_gpu(Context& ctx, const AdamWFactors<T>& factors,
               std::span<const AdamWBlock<T>> tensors);

}  // namespace tessera
