// The loops of one instruction-set level that oneDNN does not cover.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

// c = a b^T (+ bias) for a few rows of a: A, B in S, c in C. Strides are those of rows.
template <class S, class C>
struct FewRows {
  const S* a;         // [m, k]
  const S* b;         // [n, k]
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

template <Isa isa, class S, class C>
void few_rows_cpu(int threads, const FewRows<S, C>& args);
template <Isa isa, class S>
void sum_rows_cpu(int threads, const SumRows<S>& args);

}  // namespace tessera
