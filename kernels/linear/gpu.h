// The linear family's own kernels of one GPU device; the products are cuBLASLt's.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/device.h"
#include "core/dtype.h"

namespace tessera {

class Context;

// sums = (sums +) the sum of the rows of x [rows, columns], first in chunks of rows.
template <class S>
struct SumRowsGpu {
  using Sum = std::conditional_t<std::is_same_v<S, double>, double, float>;
  const S* x;
  Sum* sums;
  int64_t rows, columns, stride;
  bool accumulate;
  int64_t rows_per_chunk;
  Sum* partials;  // [ceil(rows / rows_per_chunk), columns]
};
template <Device device, class S>
void sum_rows_gpu(Context& ctx, const SumRowsGpu<S>& args);

}  // namespace tessera
