#include "kernels/adamw/kernel.h"

#include <cmath>

#include "kernels/adamw/rounding.h"
#include "kernels/elementwise/kernel.h"
#include "tests/kernels/device_case.h"
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

class AdamWOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, AdamWOn, ::testing::ValuesIn(built_devices()), device_name);

TEST_P(AdamWOn, MatchesTheReference) {
  on_all_levels(GetParam(), [](Context& ctx) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const double u = unit_roundoff(dtype);
      for (const AdamWTensor& t : train(ctx, dtype, /*low=*/false)) {
        const Shape shape = t.param.shape();
        const Expected e = reference_training(shape[0], dtype);
        SCOPED_TRACE(fmt::format("{} size {}", dtype, shape));
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
  });
}

TEST_P(AdamWOn, WorkingCopyIsTheRoundedParameter) {
  on_all_levels(GetParam(), [](Context& ctx) {
    for (const AdamWTensor& t : train(ctx, DType::f32, /*low=*/true)) {
      const Tensor rounded = ctx.empty(t.param.shape(), DType::bf16);
      convert(ctx, rounded, t.param);
      EXPECT_TRUE(is_bitwise_equal(t.low, rounded));
    }
  });
}

std::vector<Tensor> all_of(const std::vector<AdamWTensor>& tensors) {
  std::vector<Tensor> all;
  for (const AdamWTensor& t : tensors) {
    for (const Tensor& x : {t.param, t.m, t.v}) all.push_back(x);
    if (t.low.defined()) all.push_back(t.low);
  }
  return all;
}

// Every operation is correctly rounded, on every device, but that the CPU flushes subnormals.
TEST_P(AdamWOn, IsReproducibleAndTheCpus) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const auto run = [dtype](Context& ctx) {
      return all_of(train(ctx, dtype, /*low=*/dtype == DType::f32));
    };
    EXPECT_TRUE(is_reproducible(GetParam(), run));
    Context ctx = context(), cpu = cpu_context(Isa::avx2);
    const std::vector<Tensor> actual = run(ctx), expected = run(cpu);
    for (size_t i = 0; i < actual.size(); ++i)
      EXPECT_TRUE(is_bitwise_equal(actual[i], expected[i]));
  }
}

// A parameter that is stored in bf16 only.
AdamWTensor make_rounded(Context& ctx, int64_t size, const Vec& values) {
  return {.param = make_tensor(ctx, {size}, DType::bf16, values),
          .low = {},
          .grad = ctx.empty({size}, DType::f32),
          .m = ctx.zeros({size}, DType::f32),
          .v = ctx.zeros({size}, DType::f32),
          .decay = size % 2 == 1,
          .purpose = uint32_t(77 + size)};
}

std::vector<Tensor> train_rounded(Context& ctx) {
  std::vector<AdamWTensor> tensors;
  for (const int64_t size : kSizes)
    tensors.push_back(make_rounded(ctx, size, representable("param", size, DType::bf16)));
  for (int step = 1; step <= kSteps; ++step) {
    for (AdamWTensor& t : tensors)
      t.grad = make_tensor(ctx, t.param.shape(), DType::f32,
                           gradient_at(step, t.param.elements(), DType::f32));
    adamw_step(ctx, args_at(step, tensors));
  }
  return all_of(tensors);
}

// The numbers depend on (seed, purpose, step, element) alone: not on levels, threads or devices.
TEST_P(AdamWOn, RoundsStochasticallyToTheBitsOfTheCpu) {
  EXPECT_TRUE(is_reproducible(GetParam(), train_rounded));
  Context cpu = cpu_context(Isa::avx2);
  const std::vector<Tensor> expected = train_rounded(cpu);
  on_all_levels(GetParam(), [&](Context& ctx) {
    const std::vector<Tensor> actual = train_rounded(ctx);
    for (size_t i = 0; i < actual.size(); ++i)
      EXPECT_TRUE(is_bitwise_equal(actual[i], expected[i])) << i;
  });
}

TEST_P(AdamWOn, RoundsByTheSeedOfTheRun) {
  const auto parameter = [this](uint64_t seed) {
    Context ctx({.device = GetParam(), .isa = machine_isas().back(), .seed = seed});
    const std::vector<Tensor> all = train_rounded(ctx);
    return values_of(all[all.size() - 3]);  // the last parameter, before its moments
  };
  EXPECT_EQ(parameter(1).data, parameter(1).data);
  EXPECT_NE(parameter(1).data, parameter(2).data);
}

// `steps` steps of a gradient of 1, which is an update of lr = 2^-12: 1/16 of bf16's unit below 1.
double mean_after(Context& ctx, int steps, uint32_t purpose) {
  constexpr int64_t kSize = 20000;
  AdamWTensor t = make_rounded(ctx, kSize, Vec(size_t(kSize), 1.0));
  t.purpose = purpose;
  t.grad = make_tensor(ctx, {kSize}, DType::f32, Vec(size_t(kSize), 1.0));
  for (int step = 1; step <= steps; ++step)
    adamw_step(ctx, {.tensors = std::span(&t, 1), .lr = 0x1p-12, .eps = 1e-12, .step = step});
  double mean = 0;
  for (const double x : values_of(t.param).data) mean += x / double(kSize);
  return mean;
}

// Rounding to nearest would leave every element at 1. Each is 1 - 2^-8 with probability 1/16 after
// a step, with a standard deviation of 2^-8 sqrt(15) / 16; later steps add as much each. The
// updates are rounded to f32 below 1: by 2^-25 at most.
TEST_P(AdamWOn, UpdatesBelowHalfAUnitAddUpOnAverage) {
  for (const int steps : {1, 16}) {
    Context ctx = context();
    const double deviation = 0x1p-8 * std::sqrt(15.0) / 16 * std::sqrt(steps / 20000.0);
    EXPECT_NEAR(mean_after(ctx, steps, 1), 1 - steps * 0x1p-12, 5 * deviation + steps * 0x1p-25);
    EXPECT_NE(mean_after(ctx, steps, 1), mean_after(ctx, steps, 2));
  }
}

TEST(StochasticRounding, TakesTheShareThatIsCutOffForProbability) {
  constexpr uint32_t kOne = 0x3f800000u;
  EXPECT_EQ(round_stochastically(kOne, 0xffffffffu), 0x3f80);  // exact: stays
  EXPECT_EQ(round_stochastically(kOne | 1, 0xfffeffffu), 0x3f80);
  EXPECT_EQ(round_stochastically(kOne | 1, 0xffff0000u), 0x3f81);  // 1 of 65536 numbers
  EXPECT_EQ(round_stochastically(kOne | 0xffff, 0x0000ffffu), 0x3f80);
  EXPECT_EQ(round_stochastically(kOne | 0xffff, 0x00010000u), 0x3f81);
  EXPECT_EQ(round_stochastically(0xbf80ffffu, 0x00010000u), 0xbf81);  // away from 0, too
  EXPECT_EQ(round_stochastically(0x7f800000u, 0xffffffffu), 0x7f80);  // infinity
  EXPECT_EQ(round_stochastically(0x7f800001u, 0), 0x7fc0);            // NaN, not infinity
}

// More tensors than a launch takes, of both dtypes, some empty, some unaligned.
TEST_P(AdamWOn, TakesManyTensors) {
  Context ctx = context(), cpu = cpu_context();
  std::vector<AdamWTensor> tensors[2];
  for (int64_t i = 0; i < 130; ++i) {
    const DType dtype = i % 5 ? DType::f32 : DType::f64;
    const int64_t size = i * 7 % 90;
    const auto make = [&](Context& c, std::string_view name) {
      const Vec values = representable(name, size, dtype);
      return i % 2 ? make_unaligned(c, {size}, dtype, values)
                   : make_tensor(c, {size}, dtype, values);
    };
    for (Context* c : {&ctx, &cpu}) {
      tensors[c == &cpu].push_back({.param = make(*c, "param"),
                                    .low = {},
                                    .grad = make(*c, "grad"),
                                    .m = make(*c, "m"),
                                    .v = c->zeros({size}, dtype),
                                    .decay = i % 3 == 0});
    }
  }
  adamw_step(ctx, args_at(1, tensors[0]));
  adamw_step(cpu, args_at(1, tensors[1]));
  const std::vector<Tensor> actual = all_of(tensors[0]), expected = all_of(tensors[1]);
  for (size_t i = 0; i < actual.size(); ++i)
    EXPECT_TRUE(is_bitwise_equal(actual[i], expected[i])) << i;
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
  t.param = ctx.zeros({4}, DType::i32);
  EXPECT_TRUE(fails_with([&] { step(1); },
                         "adamw: a parameter of dtype i32; use f32 or f64, or bf16 for stochastic "
                         "rounding"));
  t = make_rounded(ctx, 4, Vec(4));
  t.low = ctx.empty({4}, DType::bf16);
  EXPECT_TRUE(
      fails_with([&] { step(1); }, "adamw: a working copy beside a parameter of dtype bf16"));
}

}  // namespace
}  // namespace tessera::test
