#include "kernels/reduce/kernel.h"

#include "tests/kernels/device_case.h"

namespace tessera::test {
namespace {

// One tensor of every awkward size and several blocks' length.
std::vector<Tensor> make_tensors(Context& ctx, DType dtype, double* expected) {
  std::vector<Tensor> tensors;
  *expected = 0;
  for (const int64_t size : {1, 31, 33, 127, 4099, 100003}) {
    const Vec values = representable(fmt::format("x{}", size), size, dtype);
    for (const double x : values) *expected += x * x;
    tensors.push_back(make_tensor(ctx, {size}, dtype, values));
  }
  return tensors;
}

class SumOfSquaresOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, SumOfSquaresOn, ::testing::ValuesIn(built_devices()),
                         device_name);

TEST_P(SumOfSquaresOn, MatchesTheReference) {
  Context ctx = context();
  for (const DType dtype : kComputeTypes) {
    double expected;
    const std::vector<Tensor> tensors = make_tensors(ctx, dtype, &expected);
    // 1e5 additions of positive numbers with random rounding errors of 2^-53.
    EXPECT_NEAR(sum_of_squares(ctx, tensors), expected, 1e-13 * expected) << name_of(dtype);
  }
}

// More tensors than a launch takes, of mixed dtypes, some empty, some unaligned.
TEST_P(SumOfSquaresOn, TakesManyTensors) {
  Context ctx = context();
  std::vector<Tensor> tensors;
  double expected = 0;
  for (int64_t i = 0; i < 250; ++i) {
    const DType dtype = kComputeTypes[i % 3];
    const int64_t size = i * 7 % 90;
    const Vec values = representable(fmt::format("x{}", i), size, dtype);
    for (const double x : values) expected += x * x;
    tensors.push_back(i % 2 ? make_unaligned(ctx, {size}, dtype, values)
                            : make_tensor(ctx, {size}, dtype, values));
  }
  EXPECT_NEAR(sum_of_squares(ctx, tensors), expected, 1e-13 * expected);
  EXPECT_EQ(sum_of_squares(ctx, {}), 0);
}

TEST_P(SumOfSquaresOn, IsReproducible) {
  for (const DType dtype : kComputeTypes) {
    EXPECT_TRUE(is_reproducible(GetParam(), [dtype](Context& ctx) {
      double expected;
      const double sum = sum_of_squares(ctx, make_tensors(ctx, dtype, &expected));
      return std::vector<Tensor>{make_tensor(ctx, {}, DType::f64, {sum})};
    }));
  }
}

TEST(SumOfSquares, DoesNotDependOnTheInstructionSet) {
  for (const DType dtype : kComputeTypes) {
    double expected;
    Context reference = cpu_context(Isa::avx2);
    const double sum = sum_of_squares(reference, make_tensors(reference, dtype, &expected));
    for (const Isa isa : machine_isas()) {
      Context ctx = cpu_context(isa);
      EXPECT_EQ(sum_of_squares(ctx, make_tensors(ctx, dtype, &expected)), sum);
    }
  }
}

TEST_P(SumOfSquaresOn, SquaresThatF32CannotHoldAreSummed) {
  Context ctx = context();
  const Tensor x = make_tensor(ctx, {2}, DType::f32, {0x1p100, 0x1p-100});
  EXPECT_EQ(sum_of_squares(ctx, std::span(&x, 1)), 0x1p200);
}

TEST_P(SumOfSquaresOn, MetaTakesTheSameMemoryAndGivesZero) {
  Context ctx = context(), meta({.device = Device::meta, .planned = GetParam()});
  const Tensor x = ctx.zeros({100003}, DType::f32), y = meta.empty({100003}, DType::f32);
  EXPECT_EQ(sum_of_squares(ctx, std::span(&x, 1)), 0);
  EXPECT_EQ(sum_of_squares(meta, std::span(&y, 1)), 0);
  EXPECT_EQ(ctx.ledger().peak(), meta.ledger().peak());
}

TEST(SumOfSquares, BadInputIsNamed) {
  Context ctx = cpu_context();
  const Tensor columns = ctx.zeros({4, 6}, DType::f32).slice(1, 0, 3);
  EXPECT_TRUE(
      fails_with([&] { sum_of_squares(ctx, std::span(&columns, 1)); },
                 "sum_of_squares: a tensor of shape [4, 3] and strides [6, 1] is not contiguous"));
}

}  // namespace
}  // namespace tessera::test
