// The AdamW loop of one instruction-set level.
#pragma once

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

// The update with everything folded that does not depend on the element:
//   g = grad_scale * grad
//   m = beta1 m + one_minus_beta1 g,  v = beta2 v + one_minus_beta2 g^2
//   param = keep param - rate m / (root_scale sqrt(v) + eps)
// with rate = lr / (1 - beta1^step) and root_scale = 1 / sqrt(1 - beta2^step).
template <class T>
struct AdamWFactors {
  T grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, rate, root_scale, eps;
  uint64_t seed;  // of stochastic rounding, with a block's purpose and the step
  uint32_t step;
};

// A stretch of one parameter tensor.
template <class T>
struct AdamWBlock {
  T* param;   // nullptr: `low` is the parameter, rounded stochastically
  bf16* low;  // nullptr: none; never with T = double
  const T* grad;
  T *m, *v;
  int64_t count;
  T keep;
  uint32_t purpose;  // of the parameter's random numbers
  int64_t first;     // element of the parameter that the stretch begins at, a multiple of 4
};

// T: float or double.
template <Isa isa, class T>
void adamw_cpu(const AdamWFactors<T>& factors, const AdamWBlock<T>& block);

}  // namespace tessera
