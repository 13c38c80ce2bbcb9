// The reduction loop of one instruction-set level.
#pragma once

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

// The sum of squares of count elements, in f64. All levels add in the same order.
template <Isa isa, class S>
double squares_cpu(const S* x, int64_t count);

}  // namespace tessera
