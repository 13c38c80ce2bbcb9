// The loops of one instruction-set level that oneDNN does not cover.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

// c = a b^T (+ bias) for one or two rows of a; C: float or bf16. Strides are those of rows.
template <class C>
struct FewRows {
  const bf16* a;      // [m, k], m = 1 or 2
  const bf16* b;      // [n, k]
  C* c;               // [m, n]
  const float* bias;  // [n] or nullptr
  int64_t m, n, k, a_stride, b_stride, c_stride;
};

template <class S>
struct SumRows {
  using Sum = std::conditional_t<std::is_same_v<S, double>, double, float>;
  const S* x;  // [rows, columns]
  Sum* sums;   // [columns]
  int64_t rows, columns, stride;
  bool accumulate;
};

template <Isa isa, class C>
void few_rows_cpu(int threads, const FewRows<C>& args);
template <Isa isa, class S>
void sum_rows_cpu(int threads, const SumRows<S>& args);

}  // namespace tessera
