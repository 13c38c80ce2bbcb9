#include "tests/support/compare.h"

#include <cmath>

#include "core/context.h"

namespace tessera::test {
namespace {

using ::testing::AssertionResult;

bool says(const AssertionResult& result, const std::string& text) {
  return !result && std::string(result.message()).find(text) != std::string::npos;
}

TEST(Compare, NamesShapeThenDtypeThenTheFirstBadElement) {
  const Values target = expected({2, 3}, DType::f32, {0, 1, 2, 3, 4, 5});
  EXPECT_TRUE(
      says(is_close(expected({3, 2}, DType::bf16, target.data), target, {}), "shape [3, 2]"));
  EXPECT_TRUE(says(is_close(expected({2, 3}, DType::bf16, target.data), target, {}), "dtype bf16"));
  const Values off = expected({2, 3}, DType::f32, {0, 1, 2, 3, 4.5, 6});
  EXPECT_TRUE(says(is_close(off, target, {.absolute = 0.4}),
                   "at [1, 1] (element 4 of 6): 4.5, expected 4"));
  EXPECT_TRUE(is_close(off, target, {.relative = 0.2}));
}

TEST(Compare, NanNeverAgreesAndEqualInfinitiesDo) {
  const Values target = expected({2}, DType::f32, {INFINITY, 1});
  EXPECT_TRUE(is_close(target, target, {}));
  EXPECT_TRUE(is_close_l2(target, target, 0));
  const Values bad = expected({2}, DType::f32, {INFINITY, NAN});
  EXPECT_FALSE(is_close(bad, target, {.absolute = 1e9}));
  EXPECT_FALSE(is_close_l2(bad, target, 1e9));
  EXPECT_FALSE(is_as_good_as_formula(bad, target.data, target.data, {.quantum = 1e9}));
}

TEST(Compare, MeasuresNormsAndBias) {
  const Errors e = measure({3, 0, -1}, {0, 4, 0});
  EXPECT_DOUBLE_EQ(e.max_abs, 4);
  EXPECT_EQ(e.worst, 1);
  EXPECT_DOUBLE_EQ(e.relative_l2, std::sqrt(26.0) / 4);
  EXPECT_DOUBLE_EQ(e.mean_signed, -2.0 / 3);
}

TEST(Compare, LowPrecisionRuleSeesLargeAndOneSidedErrors) {
  const int64_t n = 1000;
  const Vec exact = reference::random_values("exact", n);
  Vec low(exact), biased(exact), wild(exact);
  for (double& x : low) x = reference::round_bf16(x);
  for (double& x : biased) x = reference::round_bf16(x) + 0x1p-10;  // less than a rounding step
  wild[77] += 1;
  const auto verdict = [&](const Vec& kernel) {
    return is_as_good_as_formula(expected({n}, DType::bf16, kernel), exact, low);
  };
  EXPECT_TRUE(verdict(low));
  EXPECT_TRUE(says(verdict(biased), "mean signed error out of bounds"));
  EXPECT_TRUE(says(verdict(wild), "at [77]"));
}

TEST(Compare, QuantumIsOneStepOfTheFormat) {
  // 1 + 0.3 rounds to 1.296875, and that - 0.3 to 1 - 2^-8.
  EXPECT_EQ(rounding_quantum(reference::kBF16, {1}), 0x1p-7);
}

TEST(Compare, ReadsStridedTensors) {
  Context ctx({});
  const Tensor x = ctx.empty({2, 3}, DType::i32);
  for (int i = 0; i < 6; ++i) x.data<int32_t>()[i] = i;
  const Values values = values_of(x.transpose(0, 1));
  EXPECT_EQ(values.shape, (Shape{3, 2}));
  EXPECT_EQ(values.data, (Vec{0, 3, 1, 4, 2, 5}));
  EXPECT_TRUE(is_bitwise_equal(x, x));
  EXPECT_TRUE(says(is_bitwise_equal(x.slice(0, 0, 1), x.slice(0, 1, 2)), "at [0, 0]"));
}

}  // namespace
}  // namespace tessera::test
