#include "kernels/adamw/kernel.h"

#include <algorithm>

#include "tests/kernels/op_case.h"
#include "tests/support/compare.h"
#include "tests/support/reference_ops.h"

namespace tessera::test {
namespace {

constexpr int64_t kSizes[] = {1, 31, 33, 127, 4099, 40000};
constexpr int kSteps = 3;

AdamWTensor make_parameter_of_size(Context& ctx, int64_t size, DType dtype, bool low) {
  return {.param = make_tensor(ctx, {size}, dtype, representable("param", size, dtype)),
          .low = low ? ctx.empty({size}, DType::bf16) : Tensor(),
          .grad = ctx.empty({size}, dtype),
          .m = ctx.zeros({size}, dtype),
          .v = ctx.zeros({size}, dtype),
          .decay = size % 2 == 1};
}

Vec gradient_at(int step, int64_t size, DType dtype) {
  return representable(fmt::format("grad{}", step), size, dtype, 0.1);
}

AdamWArgs args_at(int step, std::span<const AdamWTensor> tensors) {
  return {.tensors = tensors,
          .lr = 0.01,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .step = step,
          .grad_scale = 0.25};
}

// Parameters of all sizes after kSteps steps; those of odd size decay.
std::vector<AdamWTensor> train(Context& ctx, DType dtype, bool low) {
  std::vector<AdamWTensor> tensors;
  for (const int64_t size : kSizes)
    tensors.push_back(make_parameter_of_size(ctx, size, dtype, low));
  for (int step = 1; step <= kSteps; ++step) {
    for (AdamWTensor& t : tensors)
      t.grad =
          make_tensor(ctx, t.param.shape(), dtype, gradient_at(step, t.param.elements(), dtype));
    adamw_step(ctx, args_at(step, tensors));
  }
  return tensors;
}

// What train() should give for the parameter of `size`.
struct Expected {
  Vec param, m, v;
};

Expected reference_training(int64_t size, DType dtype) {
  Expected e{.param = representable("param", size, dtype), .m = Vec(size), .v = Vec(size)};
  for (int step = 1; step <= kSteps; ++step) {
    Vec grad = gradient_at(step, size, dtype);
    for (double& g : grad) g *= 0.25;
    reference::adamw_step({.lr = 0.01,
                           .beta1 = 0.9,
                           .beta2 = 0.95,
                           .eps = 1e-8,
                           .weight_decay = size % 2 == 1 ? 0.1 : 0.0},
                          step, grad, e.param, e.m, e.v);
  }
  return e;
}

TEST(AdamW, MatchesTheReference) {
  for (const Isa isa : machine_isas()) {
    Context ctx = cpu_context(isa, 2);
    for (const DType dtype : {DType::f32, DType::f64}) {
      const double u = unit_roundoff(dtype);
      for (const AdamWTensor& t : train(ctx, dtype, /*low=*/false)) {
        const Shape shape = t.param.shape();
        const Expected e = reference_training(shape[0], dtype);
        SCOPED_TRACE(fmt::format("isa {} {} size {}", int(isa), dtype, shape));
        // A step rounds the parameter three times, and errs by 15 roundoffs of an update of at most
        // lr; m and v are sums of kSteps terms, each rounded a few times; m's may cancel.
        EXPECT_TRUE(is_close(values_of(t.param), expected(shape, dtype, e.param),
                             {.absolute = kSteps * 15 * u * 0.01, .relative = kSteps * 3 * u}));
        EXPECT_TRUE(is_close(values_of(t.m), expected(shape, dtype, e.m),
                             {.absolute = kSteps * 4 * u * 0.01, .relative = kSteps * 2 * u}));
        EXPECT_TRUE(is_close(values_of(t.v), expected(shape, dtype, e.v),
                             {.absolute = 0, .relative = (kSteps + 5) * u}));
      }
    }
  }
}

TEST(AdamW, WorkingCopyIsTheRoundedParameter) {
  for (const Isa isa : machine_isas()) {
    Context ctx = cpu_context(isa);
    for (const AdamWTensor& t : train(ctx, DType::f32, /*low=*/true)) {
      for (int64_t i = 0; i < t.param.elements(); ++i) {
        ASSERT_EQ(t.low.data<bf16>()[i].bits, from_float<bf16>(t.param.data<float>()[i]).bits);
      }
    }
  }
}

TEST(AdamW, DoesNotDependOnThreadsOrInstructionSet) {
  Context first = cpu_context(Isa::avx2, 1);
  const std::vector<AdamWTensor> expected = train(first, DType::f32, /*low=*/true);
  for (const Isa isa : machine_isas()) {
    for (const int threads : {1, 2, 3}) {
      Context ctx = cpu_context(isa, threads);
      const std::vector<AdamWTensor> actual = train(ctx, DType::f32, /*low=*/true);
      for (size_t i = 0; i < actual.size(); ++i) {
        EXPECT_TRUE(is_bitwise_equal(actual[i].param, expected[i].param));
        EXPECT_TRUE(is_bitwise_equal(actual[i].low, expected[i].low));
        EXPECT_TRUE(is_bitwise_equal(actual[i].v, expected[i].v));
      }
    }
  }
}

TEST(AdamW, MetaDoesNothing) {
  Context ctx({.device = Device::meta});
  const AdamWTensor t{.param = ctx.empty({5}, DType::f32),
                      .low = {},
                      .grad = ctx.empty({5}, DType::f32),
                      .m = ctx.empty({5}, DType::f32),
                      .v = ctx.empty({5}, DType::f32),
                      .decay = true};
  const int64_t before = ctx.ledger().peak();
  adamw_step(ctx, args_at(1, std::span(&t, 1)));
  EXPECT_EQ(ctx.ledger().peak(), before);
  EXPECT_EQ(cost(args_at(1, std::span(&t, 1))).bytes, 7 * 4 * 5);
}

TEST(AdamW, BadInputIsNamed) {
  Context ctx = cpu_context();
  AdamWTensor t = make_parameter_of_size(ctx, 4, DType::f32, /*low=*/false);
  const auto step = [&](int number) { adamw_step(ctx, args_at(number, std::span(&t, 1))); };
  EXPECT_TRUE(fails_with([&] { step(0); }, "adamw: step 0 is below 1, from which steps count"));
  t.m = ctx.zeros({5}, DType::f32);
  EXPECT_TRUE(fails_with([&] { step(1); },
                         "adamw: m must be a contiguous f32 tensor of the parameter's shape [4], "
                         "not f32 [5]"));
  t.param = ctx.zeros({4}, DType::bf16);
  EXPECT_TRUE(fails_with([&] { step(1); },
                         "adamw: a parameter of dtype bf16; the master copy is f32 or f64"));
}

}  // namespace
}  // namespace tessera::test
