// Comparisons for GoogleTest that say what differs: shape, then dtype, then values, with the first
// coordinate that is out of bounds.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/tensor.h"
#include "tests/support/rounding.h"
#include "tests/support/values.h"

namespace tessera::test {

using reference::Vec;

// A tensor as the comparisons see it: contiguous values in double, with the shape and dtype they
// came from.
struct Values {
  Shape shape;
  DType dtype;
  Vec data;
};

// Copies any strided floating-point or integer tensor with data.
Values values_of(const Tensor& tensor);
// A reference result under the shape and dtype that a kernel's should have.
Values expected(const Shape& shape, DType dtype, Vec data);

struct Errors {
  double max_abs = 0;  // NaN where one side is not finite and the other differs
  double relative_l2 =
      0;  // |actual - expected| / |expected|; the absolute norm where expected is 0
  double mean_signed = 0;  // mean of actual - expected: bias
  double root_mean_square = 0;
  int64_t worst = 0;  // element of max_abs
};
Errors measure(const Vec& actual, const Vec& expected);

// Same shape and dtype, and |actual - expected| <= absolute + relative |expected| for every
// element. Equal infinities agree; a NaN agrees with nothing.
struct Tolerance {
  double absolute = 0, relative = 0;
};
::testing::AssertionResult is_close(const Values& actual, const Values& expected,
                                    Tolerance tolerance);

// Same shape and dtype, and |actual - expected| / |expected| <= bound over the whole tensor.
::testing::AssertionResult is_close_l2(const Values& actual, const Values& expected, double bound);

// Same shape, dtype and values, bit for bit.
::testing::AssertionResult is_bitwise_equal(const Tensor& actual, const Tensor& expected);

// The rule of Dao's flash-attention tests: the kernel may err at most `factor` times as much as the
// plain formula evaluated in the kernel's own precision errs, plus `quantum`. It is applied to the
// largest and to the root-mean-square error. The mean signed error must not exceed `factor` times
// the formula's, plus five standard deviations of the mean of independent errors: small one-sided
// errors are bugs that the largest error hides.
struct LowPrecisionRule {
  double factor = 2;
  double quantum = 0;  // see rounding_quantum()
};
::testing::AssertionResult is_as_good_as_formula(const Values& actual, const Vec& exact,
                                                 const Vec& low_precision,
                                                 LowPrecisionRule rule = {});

// One rounding step at the scale of the largest value: 2 max |(x + 0.3 - 0.3) - x| with sums in
// `format`, as flash-attention 3 derives its absolute tolerance.
double rounding_quantum(const reference::NumberFormat& format, const Vec& exact);

}  // namespace tessera::test
