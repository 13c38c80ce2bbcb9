// The elementwise loops of one instruction-set level.
#pragma once

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

// Over n contiguous values of storage type S: float, bf16 or double.
template <class S>
struct ElementwiseCpu {
  void (*add)(int threads, S* sum, const S* a, const S* b, int64_t n);
  void (*scale)(int threads, S* x, double factor, int64_t n);
  bool (*all_finite)(int threads, const S* x, int64_t n);
};
template <Isa isa, class S>
ElementwiseCpu<S> elementwise_cpu();

// Rows of `columns` contiguous values whose first elements are a stride apart.
template <class To, class From>
struct ConvertRows {
  To* to;
  const From* from;
  int64_t to_stride, from_stride, rows, columns;
};

struct ElementwiseMixedCpu {
  void (*add_into)(int threads, float* into, const bf16* from, int64_t n);
  void (*widen)(int threads, const ConvertRows<float, bf16>&);
  void (*round)(int threads, const ConvertRows<bf16, float>&);
};
template <Isa isa>
ElementwiseMixedCpu elementwise_mixed_cpu();

// Elements that are worth waking a thread for.
inline constexpr int64_t kElementwiseGrain = 16384;

}  // namespace tessera
