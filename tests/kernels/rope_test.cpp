#include "kernels/rope/op.h"

#include <numeric>

#include "core/autograd/recompute.h"
#include "kernels/elementwise/op.h"
#include "kernels/rope/kernel.h"
#include "tests/kernels/device_case.h"
#include "tests/support/compare.h"
#include "tests/support/gradcheck.h"
#include "tests/support/reference_rope.h"

namespace tessera::test {
namespace {

struct Setting {
  RopeConfig config;
  reference::RopeSpec spec;
};

class RopeOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, RopeOn, ::testing::ValuesIn(built_devices()), device_name);

// The scalings with the values of published models: none (Llama 2), linear (position
// interpolation), NTK, YaRN (Yarn-Llama-2-7b-64k), Llama 3.1.
std::vector<Setting> settings() {
  using reference::RopeSpec;
  std::vector<Setting> all;
  all.push_back({.config = {}, .spec = {}});
  all.push_back({.config = {.scaling = RopeScaling::linear, .factor = 4},
                 .spec = {.scaling = reference::RopeScaling::linear, .factor = 4}});
  all.push_back({.config = {.scaling = RopeScaling::ntk, .factor = 8},
                 .spec = {.scaling = reference::RopeScaling::ntk, .factor = 8}});
  all.push_back(
      {.config = {.scaling = RopeScaling::yarn, .factor = 16, .original_length = 4096},
       .spec = {.scaling = reference::RopeScaling::yarn, .factor = 16, .original_length = 4096}});
  all.push_back({.config = {.theta = 500000,
                            .scaling = RopeScaling::llama3,
                            .factor = 8,
                            .original_length = 8192},
                 .spec = {.theta = 500000,
                          .scaling = reference::RopeScaling::llama3,
                          .factor = 8,
                          .original_length = 8192}});
  all.push_back({.config = {.scaling = RopeScaling::yarn,
                            .factor = 16,
                            .original_length = 4096,
                            .attention_factor = 1.25},
                 .spec = {.scaling = reference::RopeScaling::yarn,
                          .factor = 16,
                          .original_length = 4096,
                          .attention_factor = 1.25}});
  return all;
}

std::vector<int32_t> some_positions(int64_t n, int32_t limit) {
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < n; ++i) positions.push_back(int32_t(i * 7919 % limit));
  return positions;
}

TEST(RopeTable, MatchesTheReference) {
  for (const Setting& s : settings()) {
    for (const int64_t dim : {8, 64, 128}) {
      Context ctx = cpu_context();
      const int64_t length = 300;
      const RopeTable table = rope_table(ctx, s.config, length, dim, DType::f64);
      const RopeTable small = rope_table(ctx, s.config, length, dim);
      const auto [frequency, amplitude] = reference::rope_frequencies(s.spec, dim);
      Vec cos, sin;
      for (int64_t p = 0; p < length; ++p) {
        for (const double radians : frequency) {
          cos.push_back(amplitude * std::cos(double(p) * radians));
          sin.push_back(amplitude * std::sin(double(p) * radians));
        }
      }
      // An angle of up to `length` radians has an error of a few roundoffs of itself.
      const Tolerance exact{.absolute = 4 * double(length) * 0x1p-53, .relative = 0};
      const Tolerance rounded{.absolute = 1e-9, .relative = 0x1p-24};
      EXPECT_TRUE(
          is_close(values_of(table.cos), expected({length, dim / 2}, DType::f64, cos), exact));
      EXPECT_TRUE(
          is_close(values_of(table.sin), expected({length, dim / 2}, DType::f64, sin), exact));
      EXPECT_TRUE(
          is_close(values_of(small.cos), expected({length, dim / 2}, DType::f32, cos), rounded));
    }
  }
}

// Frequencies worked out by hand from the papers' formulas.
TEST(RopeTable, ScalesAsPublished) {
  Context ctx = cpu_context();
  const auto frequency = [&](const RopeConfig& config, int64_t dim, int64_t pair) {
    return std::asin(
        rope_table(ctx, config, 2, dim, DType::f64).sin.data<double>()[dim / 2 + pair]);
  };
  // Llama 3.1: pair 63 of 64 turns 8192 * 500000^(-126/128) / 2 pi = 0.0032 times: divided by 8.
  const RopeConfig llama3{
      .theta = 500000, .scaling = RopeScaling::llama3, .factor = 8, .original_length = 8192};
  EXPECT_NEAR(frequency(llama3, 128, 63) * 8, std::pow(500000, -126.0 / 128), 1e-15);
  EXPECT_NEAR(frequency(llama3, 128, 1), std::pow(500000, -2.0 / 128), 1e-15);
  // Pair 32 turns 8192 / sqrt(500000) / 2 pi = 1.844 times, between 1 and 4.
  const double turns = 8192 / std::sqrt(500000.0) / 6.283185307179586, keep = (turns - 1) / 3;
  EXPECT_NEAR(frequency(llama3, 128, 32), (keep + (1 - keep) / 8) / std::sqrt(500000.0), 1e-15);
  // NTK: the last pair is stretched by exactly the factor, the first not at all.
  const RopeConfig ntk{.scaling = RopeScaling::ntk, .factor = 8};
  EXPECT_NEAR(frequency(ntk, 64, 31) * 8, std::pow(10000, -62.0 / 64), 1e-15);
  // YaRN, factor 16 from 4096, D = 128: the ramp goes from pair floor(20.94) to ceil(45.03).
  const RopeConfig yarn{
      .scaling = RopeScaling::yarn, .factor = 16, .original_length = 4096, .attention_factor = 1};
  EXPECT_NEAR(frequency(yarn, 128, 20), std::pow(10000, -40.0 / 128), 1e-15);
  EXPECT_NEAR(frequency(yarn, 128, 33), std::pow(10000, -66.0 / 128) * (0.5 + 0.5 / 16), 1e-15);
  EXPECT_NEAR(frequency(yarn, 128, 46) * 16, std::pow(10000, -92.0 / 128), 1e-15);
}

// Rotates q and k of a fused tensor and compares with the reference on the same columns.
void check_rotation(Context& ctx, DType dtype, int64_t dim, int64_t n) {
  const int64_t heads = 3, kv_heads = 2, width = (heads + 2 * kv_heads) * dim;
  const int64_t rotated = (heads + kv_heads) * dim;
  const Vec x = representable("x", n * width, dtype);
  const std::vector<int32_t> positions = some_positions(n, 1000);
  const RopeTable table = rope_table(ctx, {}, 1000, dim, wide(dtype));
  const Tensor memory = make_tensor(ctx, {n, width}, dtype, x);
  const Var y = rope(ctx, Var(memory), make_tokens(ctx, positions), table, heads, kv_heads, dim);
  EXPECT_EQ(y.value().raw(), memory.raw());
  EXPECT_EQ(memory.storage()->version(), 1u);
  Vec want(x);
  reference::put_columns(
      want, width, 0, rotated,
      reference::rope_forward({}, reference::take_columns(x, width, 0, rotated), positions, dim));
  // Two products, a sum and the table's rounding: at most 4 roundoffs of |a| + |b| <= 12; then the
  // result's. The reference's angle errs by 1000 * 2^-53.
  const Tolerance tolerance{
      .absolute = 12 * (dtype == DType::f64 ? 4000 : 4) * unit_roundoff(wide(dtype)),
      .relative = unit_roundoff(dtype)};
  EXPECT_TRUE(is_close(values_of(memory), expected({n, width}, dtype, want), tolerance));
}

TEST_P(RopeOn, MatchesTheReferenceInPlace) {
  on_all_levels(GetParam(), [](Context& ctx) {
    for (const DType dtype : kComputeTypes) {
      for (const int64_t dim : {2, 6, 32, 64, 80, 128}) {
        SCOPED_TRACE(fmt::format("{} head_dim {}", name_of(dtype), dim));
        check_rotation(ctx, dtype, dim, 33);
      }
      for (const int64_t n : kAwkwardSizes) check_rotation(ctx, dtype, 8, n);
      check_rotation(ctx, dtype, 1026, 1);  // more columns than a block has threads
    }
  });
}

TEST_P(RopeOn, CopiesWhatItDoesNotRotateAndTakesUnalignedMemory) {
  Context ctx = context();
  const int64_t n = 5, dim = 16, width = 4 * dim;
  for (const DType dtype : kComputeTypes) {
    const Vec x = representable("x", n * width, dtype);
    const RopeTable table = rope_table(ctx, {}, 100, dim, wide(dtype));
    const auto rotate = [&](const Tensor& from, const Tensor& to, bool inverse) {
      rope_rotate(ctx, {.x = from,
                        .y = to,
                        .positions = make_tokens(ctx, some_positions(n, 100)),
                        .cos = table.cos,
                        .sin = table.sin,
                        .heads = 3,
                        .head_dim = dim,
                        .inverse = inverse});
    };
    const Tensor from = make_tensor(ctx, {n, width}, dtype, x);
    const Tensor y = ctx.empty({n, width}, dtype), back = ctx.empty({n, width}, dtype);
    rotate(from, y, false);
    EXPECT_EQ(reference::take_columns(values_of(y).data, width, 3 * dim, width),
              reference::take_columns(x, width, 3 * dim, width));
    EXPECT_NE(values_of(y).data, x);
    rotate(y, back, true);
    EXPECT_TRUE(is_close(values_of(back), expected({n, width}, dtype, x),
                         {.absolute = 20 * unit_roundoff(dtype)}));
    const Tensor unaligned = make_unaligned(ctx, {n, width}, dtype, x);
    rotate(unaligned, unaligned, false);
    EXPECT_EQ(values_of(unaligned).data, values_of(y).data);
  }
}

TEST_P(RopeOn, IsReproducible) {
  for (const DType dtype : kComputeTypes) {
    EXPECT_TRUE(is_reproducible(GetParam(), [dtype](Context& ctx) {
      const Tensor x =
          make_tensor(ctx, {513, 6 * 32}, dtype, representable("x", 513 * 6 * 32, dtype));
      rope(ctx, Var(x), make_tokens(ctx, some_positions(513, 100)),
           rope_table(ctx, {}, 100, 32, wide(dtype)), 4, 1, 32);
      return std::vector<Tensor>{x};
    }));
  }
}

// The host cannot look at a GPU's positions.
TEST_P(RopeOn, PositionsOutsideTheTableGiveNaNOnAGpu) {
  if (GetParam() == Device::cpu) return;
  Context ctx = context();
  const Tensor x = make_tensor(ctx, {3, 12}, DType::f32, Vec(36, 1));
  rope(ctx, Var(x), make_tokens(ctx, {16, 3, -1}), rope_table(ctx, {}, 16, 4), 1, 1, 4);
  const Vec values = values_of(x).data;
  for (int i = 0; i < 36; ++i) EXPECT_EQ(std::isnan(values[i]), i / 12 != 1 && i % 12 < 8) << i;
}

TEST_P(RopeOn, GradientsInDouble) {
  Context ctx = context(1);
  const Setting yarn = settings()[3];
  const RopeTable table = rope_table(ctx, yarn.config, 50, 6, DType::f64);
  const Tensor positions = make_tokens(ctx, {49, 7});
  const Tensor x = make_tensor(ctx, {2, 3 * 6}, DType::f64, reference::random_values("x", 36));
  const auto rotate = [&](Context& c, const std::vector<Var>& in) {
    const Var zero(c.zeros({2, 3 * 6}, DType::f64));
    return rope(c, add(c, in[0], zero), positions, table, 1, 1, 6);
  };
  EXPECT_TRUE(gradcheck_op(ctx, rotate, {x}, add_into));
  // The gradient is used elsewhere too, so that it must not be overwritten.
  const auto shared = [&](Context& c, const std::vector<Var>& in) {
    return add(c, rotate(c, in), in[0]);
  };
  EXPECT_TRUE(gradcheck_op(ctx, shared, {x}, add_into));
}

TEST_P(RopeOn, BackwardRotatesInPlace) {
  Context ctx = context();
  const Var x = make_parameter("x", ctx.zeros({2, 12}, DType::f32));
  const Var y = rope(ctx, add(ctx, x, Var(ctx.zeros({2, 12}, DType::f32))),
                     make_tokens(ctx, {1, 2}), rope_table(ctx, {}, 3, 4), 1, 1, 4);
  std::vector<Tensor> grads{make_tensor(ctx, {2, 12}, DType::f32, Vec(24, 1))};
  const std::byte* memory = grads[0].raw();
  backward(ctx, std::span(&y, 1), std::move(grads), add_into);
  EXPECT_EQ(leaf_of(x).grad().raw(), memory);
}

TEST(Rope, BadInputIsNamed) {
  Context ctx = cpu_context();
  const RopeTable table = rope_table(ctx, {}, 16, 4);
  const Var x(ctx.zeros({2, 12}, DType::f32));
  EXPECT_TRUE(fails_with(
      [&] {
        rope(ctx, x, make_tokens(ctx, {3, 16}), table, 1, 1, 4);
      },
      "rope: position 16 of row 1 is outside the table of 16 positions"));
  EXPECT_TRUE(fails_with(
      [&] {
        rope(ctx, x, make_tokens(ctx, {-1, 0}), table, 1, 1, 4);
      },
      "rope: position -1 of row 0 is outside the table of 16 positions"));
  EXPECT_EQ(x.value().storage()->version(), 0u);
  EXPECT_TRUE(fails_with(
      [&] {
        rope(ctx, x, make_tokens(ctx, {0, 0}), table, 2, 1, 4);
      },
      "rope: qkv of shape [2, 12] does not hold 2 + 2 * 1 heads of 4 columns"));
  const Var leaf = make_parameter("x", x.value());
  EXPECT_TRUE(fails_with(
      [&] {
        rope(ctx, leaf, make_tokens(ctx, {0, 0}), table, 1, 1, 4);
      },
      "rope: qkv is a leaf, which must not change; rope rotates in place, so "
      "give it the output of an op"));
  EXPECT_TRUE(fails_with(
      [&] {
        rope(ctx, Var(ctx.zeros({1, 12}, DType::f64)), make_tokens(ctx, {0}), table, 1, 1, 4);
      },
      "rope: the table has dtype f32; for x of dtype f64 make it f64"));
  EXPECT_TRUE(fails_with([&] { rope_table(ctx, {.factor = 0.5}, 16, 4); },
                         "rope: factor 0.5 must be at least 1"));
  EXPECT_TRUE(
      fails_with([&] { rope_table(ctx, {.scaling = RopeScaling::yarn, .factor = 2}, 16, 4); },
                 "rope: original_length 0; set it to the context length before scaling"));
}

TEST(Rope, TheInputOfARecomputedSegmentIsRefused) {
  Context ctx = cpu_context();
  const RopeTable table = rope_table(ctx, {}, 16, 4);
  const Tensor positions = make_tokens(ctx, {1, 2});
  const Var x = make_parameter("x", ctx.zeros({2, 12}, DType::f32));
  const auto segment = [&](std::span<const Var> in) {
    return std::vector<Var>{rope(ctx, in[0], positions, table, 1, 1, 4)};
  };
  const Var y = recompute(ctx, segment, {add(ctx, x, x)}).front();
  EXPECT_THROW(backward(ctx, std::span(&y, 1), {ctx.zeros({2, 12}, DType::f32)}, add_into), Error);
}

TEST(Rope, PlansItsMemory) {
  EXPECT_TRUE(plans_its_memory([](Context& ctx) {
    const Var x = make_parameter("x", ctx.zeros({65, 12}, DType::f32));
    const Tensor positions = make_tokens(ctx, std::vector<int32_t>(65, 3));
    return rope(ctx, add(ctx, x, x), positions, rope_table(ctx, {}, 16, 4), 1, 1, 4);
  }));
}

}  // namespace
}  // namespace tessera::test
