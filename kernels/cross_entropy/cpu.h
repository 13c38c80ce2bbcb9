// The cross-entropy loop of one instruction-set level.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

// Logits in L, gradients in D; losses and arithmetic in f32, or f64 for L = double. Targets are
// checked.
template <class L, class D>
struct CrossEntropyRows {
  using Real = std::conditional_t<std::is_same_v<L, double>, double, float>;
  L* logits;  // [rows, vocab]; overwritten if dlogits shares its memory
  const int32_t* targets;
  Real* losses;
  D* dlogits;  // nullptr: not wanted
  int64_t rows, vocab, logits_stride, dlogits_stride;
  int32_t ignore_index;
  Real z_loss, scale;
};

template <Isa isa, class L, class D>
void cross_entropy_cpu(int threads, const CrossEntropyRows<L, D>& args);

}  // namespace tessera
