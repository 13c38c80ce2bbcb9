#include "kernels/reduce/kernel.h"

#include "tests/kernels/op_case.h"

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

TEST(SumOfSquares, MatchesTheReference) {
  Context ctx = cpu_context();
  for (const DType dtype : kComputeTypes) {
    double expected;
    const std::vector<Tensor> tensors = make_tensors(ctx, dtype, &expected);
    // 1e5 additions of positive numbers with random rounding errors of 2^-53.
    EXPECT_NEAR(sum_of_squares(ctx, tensors), expected, 1e-13 * expected) << name_of(dtype);
  }
}

TEST(SumOfSquares, DoesNotDependOnThreadsOrInstructionSet) {
  for (const DType dtype : kComputeTypes) {
    double expected;
    Context reference = cpu_context(Isa::avx2, 1);
    const double sum = sum_of_squares(reference, make_tensors(reference, dtype, &expected));
    for (const Isa isa : machine_isas()) {
      for (const int threads : {1, 2, 3}) {
        Context ctx = cpu_context(isa, threads);
        EXPECT_EQ(sum_of_squares(ctx, make_tensors(ctx, dtype, &expected)), sum);
      }
    }
  }
}

TEST(SumOfSquares, SquaresThatF32CannotHoldAreSummed) {
  Context ctx = cpu_context();
  const Tensor x = make_tensor(ctx, {2}, DType::f32, {0x1p100, 0x1p-100});
  EXPECT_EQ(sum_of_squares(ctx, std::span(&x, 1)), 0x1p200);
}

TEST(SumOfSquares, MetaTakesTheSameMemoryAndGivesZero) {
  Context cpu({}), meta({.device = Device::meta});
  const Tensor x = cpu.zeros({100003}, DType::f32), y = meta.empty({100003}, DType::f32);
  EXPECT_EQ(sum_of_squares(cpu, std::span(&x, 1)), 0);
  EXPECT_EQ(sum_of_squares(meta, std::span(&y, 1)), 0);
  EXPECT_EQ(cpu.ledger().peak(), meta.ledger().peak());
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
