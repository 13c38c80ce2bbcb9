// The arguments of RMSNorm kernels as the code of every device gets them: raw pointers and sizes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/dtype.h"

namespace tessera {

// The type of weights and statistics for storage type S.
template <class S>
using RmsNormWeight = std::conditional_t<std::is_same_v<S, double>, double, float>;

// Head h of row n begins at data + n * row_stride + h * head_stride.
template <class S>
struct HeadRows {
  S* data;  // nullptr: absent
  int64_t row_stride, head_stride;
};

struct RmsNormSizes {
  int64_t rows, heads, columns;
};

template <class S>
struct RmsNormForwardData {
  RmsNormSizes size;
  HeadRows<const S> x, residual;
  const RmsNormWeight<S>* weight;  // [columns]
  HeadRows<S> sum, y;
  RmsNormWeight<S>* rstd;  // [rows, heads] or nullptr
  float eps;
};

template <class S>
struct RmsNormBackwardData {
  RmsNormSizes size;
  HeadRows<const S> x, dy, dsum;
  const RmsNormWeight<S>* weight;  // [columns]
  const RmsNormWeight<S>* rstd;    // [rows, heads]
  HeadRows<S> dx, y;
  RmsNormWeight<S>* dweight;  // [columns] or nullptr
  bool accumulate_dweight;
  int64_t rows_per_chunk;
  RmsNormWeight<S>* partials;  // [ceil(rows / rows_per_chunk), columns]: dweight of each chunk
};

}  // namespace tessera
