// The elementwise kernels of one GPU device. Device pointers; n > 0.
#pragma once

#include <type_traits>

#include "core/context.h"
#include "kernels/elementwise/cpu.h"

namespace tessera {

// Over n contiguous values of storage type S: float, bf16 or double.
template <class S>
struct ElementwiseGpu {
  using Factor = std::conditional_t<std::is_same_v<S, double>, double, float>;
  void (*add)(Context&, S* sum, const S* a, const S* b, int64_t n);
  void (*scale)(Context&, S* x, double factor, int64_t n);
  // By *factor, which is on the device; does not touch x where that is 1.
  void (*scale_by)(Context&, S* x, const Factor* factor, int64_t n);
  // Adds to *found if there is an infinity or a NaN.
  void (*find_non_finite)(Context&, const S* x, int64_t n, int32_t* found);
};
template <Device device, class S>
ElementwiseGpu<S> elementwise_gpu();

// into += from.
template <Device device>
void add_bf16_into_gpu(Context& ctx, float* into, const bf16* from, int64_t n);

// For each pair of f32, bf16 and f64.
template <Device device, class To, class From>
void convert_gpu(Context& ctx, const ConvertRows<To, From>& args);

}  // namespace tessera
