#include "kernels/swiglu/op.h"

#include "kernels/elementwise/op.h"
#include "kernels/linear/kernel.h"
#include "kernels/swiglu/kernel.h"
#include "tests/kernels/device_case.h"
#include "tests/support/compare.h"
#include "tests/support/gradcheck.h"
#include "tests/support/reference_ops.h"

namespace tessera::test {
namespace {

// Relative to |gate * up|, resp. |dy| (|gate| + |up| + |gate up|): the sigmoid errs by 5 ulp of its
// own value (simd_math.h: 3e-7 in f32 is 5 roundoffs, 1e-15 in f64 is 9), some products, and the
// rounding to the dtype.
double relative_bound(DType dtype) {
  return 20 * unit_roundoff(wide(dtype)) + (dtype == DType::bf16 ? unit_roundoff(dtype) : 0);
}

void check_forward(Context& ctx, DType dtype, int64_t rows, int64_t width) {
  const Vec gate_up = representable("gate_up", rows * 2 * width, dtype, 3);
  const Tensor y = ctx.empty({rows, width}, dtype);
  swiglu_forward(ctx, {.gate_up = make_tensor(ctx, {rows, 2 * width}, dtype, gate_up), .y = y});
  EXPECT_TRUE(is_close(values_of(y),
                       expected({rows, width}, dtype, reference::swiglu_forward(gate_up, width)),
                       {.absolute = 0, .relative = relative_bound(dtype)}));
}

void check_backward(Context& ctx, DType dtype, int64_t rows, int64_t width, bool in_place) {
  const Vec gate_up = representable("gate_up", rows * 2 * width, dtype, 3);
  const Vec dy = representable("dy", rows * width, dtype);
  const Tensor x = make_tensor(ctx, {rows, 2 * width}, dtype, gate_up);
  const Tensor grad = make_tensor(ctx, {rows, width}, dtype, dy);
  const Tensor forward_y = ctx.empty({rows, width}, dtype);
  swiglu_forward(ctx, {.gate_up = x, .y = forward_y});
  const Tensor dx = in_place ? x : ctx.empty({rows, 2 * width}, dtype);
  const Tensor y = in_place ? grad : ctx.empty({rows, width}, dtype);
  swiglu_backward(ctx, {.gate_up = x, .dy = grad, .dgate_up = dx, .y = y});
  EXPECT_TRUE(is_bitwise_equal(y, forward_y));
  // silu' crosses zero at -1.28: the absolute part is the bound at the largest |dy up|.
  double largest = 0;
  for (int64_t i = 0; i < rows * width; ++i)
    largest =
        std::max(largest, std::abs(dy[i] * gate_up[i / width * 2 * width + width + i % width]));
  EXPECT_TRUE(is_close(
      values_of(dx),
      expected({rows, 2 * width}, dtype, reference::swiglu_backward(gate_up, dy, width)),
      {.absolute = 20 * unit_roundoff(wide(dtype)) * largest, .relative = relative_bound(dtype)}));
}

class SwigluOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, SwigluOn, ::testing::ValuesIn(built_devices()), device_name);

TEST_P(SwigluOn, MatchesTheReference) {
  on_all_levels(GetParam(), [](Context& ctx) {
    for (const DType dtype : kComputeTypes) {
      for (const int64_t width : kAwkwardSizes) {
        SCOPED_TRACE(fmt::format("{} width {}", name_of(dtype), width));
        check_forward(ctx, dtype, 5, width);
        check_backward(ctx, dtype, 5, width, false);
        check_backward(ctx, dtype, 5, width, true);
      }
      for (const int64_t width : {32, 2056}) {  // whole 16-byte accesses
        check_forward(ctx, dtype, 3, width);
        check_backward(ctx, dtype, 3, width, true);
      }
    }
  });
}

TEST_P(SwigluOn, TakesUnalignedMemory) {
  Context ctx = context();
  const int64_t rows = 3, width = 64;
  for (const DType dtype : kComputeTypes) {
    const Vec gate_up = representable("gate_up", rows * 2 * width, dtype, 3);
    const Tensor y = make_unaligned(ctx, {rows, width}, dtype, Vec(rows * width));
    const Tensor x = make_unaligned(ctx, {rows, 2 * width}, dtype, gate_up);
    swiglu_forward(ctx, {.gate_up = x, .y = y});
    EXPECT_TRUE(is_close(values_of(y),
                         expected({rows, width}, dtype, reference::swiglu_forward(gate_up, width)),
                         {.absolute = 0, .relative = relative_bound(dtype)}));
    const Tensor dx = ctx.empty({rows, 2 * width}, dtype), again = ctx.empty({rows, width}, dtype);
    swiglu_backward(ctx, {.gate_up = make_tensor(ctx, {rows, 2 * width}, dtype, gate_up),
                          .dy = make_tensor(ctx, {rows, width}, dtype, values_of(y).data),
                          .dgate_up = dx,
                          .y = again});
    swiglu_backward(ctx, {.gate_up = x, .dy = y, .dgate_up = x, .y = y});
    EXPECT_EQ(values_of(x).data, values_of(dx).data);
    EXPECT_EQ(values_of(y).data, values_of(again).data);
  }
}

TEST_P(SwigluOn, LargeArgumentsStayFinite) {
  Context ctx = context();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor gate_up = make_tensor(ctx, {1, 4}, dtype, {-200, 200, 2, 3});
    const Tensor y = ctx.empty({1, 2}, dtype), dx = ctx.empty({1, 4}, dtype);
    swiglu_forward(ctx, {.gate_up = gate_up, .y = y});
    EXPECT_TRUE(is_close(values_of(y), expected({1, 2}, dtype, {0, 600}), {}));
    swiglu_backward(ctx, {.gate_up = gate_up,
                          .dy = make_tensor(ctx, {1, 2}, dtype, {1, 1}),
                          .dgate_up = dx,
                          .y = y});
    EXPECT_TRUE(is_close(values_of(dx), expected({1, 4}, dtype, {0, 3, 0, 200}), {}));
  }
}

TEST_P(SwigluOn, IsReproducible) {
  for (const DType dtype : kComputeTypes) {
    EXPECT_TRUE(is_reproducible(GetParam(), [dtype](Context& ctx) {
      const Tensor x = make_tensor(ctx, {301, 254}, dtype, representable("x", 301 * 254, dtype));
      const Tensor y = ctx.empty({301, 127}, dtype), dx = ctx.empty({301, 254}, dtype);
      swiglu_forward(ctx, {.gate_up = x, .y = y});
      swiglu_backward(ctx, {.gate_up = x, .dy = y, .dgate_up = dx, .y = y});
      return std::vector<Tensor>{y, dx};
    }));
  }
}

TEST_P(SwigluOn, LinearGradientsInDouble) {
  Context ctx = context(1);
  const Tensor x = make_tensor(ctx, {3, 14}, DType::f64, reference::random_values("x", 42));
  const Tensor weight = make_tensor(ctx, {5, 7}, DType::f64, reference::random_values("w", 35));
  const auto f = [](Context& c, const std::vector<Var>& in) {
    return swiglu_linear(c, in[0], in[1]);
  };
  EXPECT_TRUE(gradcheck_op(ctx, f, {x, weight}, add_into));
  EXPECT_TRUE(gradcheck_op(
      ctx,
      [&](Context& c, const std::vector<Var>& in) {
        return f(c, {in[0], Var(weight)});
      },
      {x}, add_into));
  EXPECT_TRUE(gradcheck_op(
      ctx,
      [&](Context& c, const std::vector<Var>& in) {
        return f(c, {Var(x), in[0]});
      },
      {weight}, add_into));
}

// The op against the kernels it is made of, which keep what it makes again.
TEST_P(SwigluOn, LinearIsTheProductOfSwiglu) {
  Context ctx = context();
  const int64_t rows = 33, width = 40, out = 24;
  for (const DType dtype : kComputeTypes) {
    SCOPED_TRACE(name_of(dtype));
    const auto make = [&](const char* name, const Shape& shape) {
      return make_tensor(ctx, shape, dtype, representable(name, shape.elements(), dtype));
    };
    const Var gate_up(make("gate_up", {rows, 2 * width}));
    const Var weight = make_parameter("weight", make("weight", {out, width}));
    const Tensor dy = make("dy", {rows, out}), h = ctx.empty({rows, width}, dtype);
    const Tensor want = ctx.empty({rows, out}, dtype);
    swiglu_forward(ctx, {.gate_up = gate_up.value(), .y = h});
    matmul(ctx, {.a = h, .b = weight.value(), .c = want, .bias = {}, .transpose_b = true});
    const Tensor dweight = ctx.empty({out, width}, wide(dtype));
    matmul(ctx, {.a = dy, .b = h, .c = dweight, .bias = {}, .transpose_a = true});

    const Var y = swiglu_linear(ctx, gate_up, weight);
    EXPECT_TRUE(is_bitwise_equal(y.value(), want));
    backward(ctx, std::span(&y, 1), {dy}, add_into);
    EXPECT_TRUE(is_bitwise_equal(leaf_of(weight).grad(), dweight));
  }
}

TEST_P(SwigluOn, LinearBackwardReusesTheSavedTensorUnlessItIsShared) {
  Context ctx = context();
  const Var x = make_parameter("x", make_tensor(ctx, {3, 8}, DType::f32, Vec(24, 0.5)));
  const Var zero(ctx.zeros({3, 8}, DType::f32)), weight(ctx.zeros({2, 4}, DType::f32));
  for (const bool shared : {false, true}) {
    leaf_of(x).clear_grad();
    Var gate_up = add(ctx, x, zero);
    const std::byte* memory = gate_up.value().raw();
    const Values before = values_of(gate_up.value());
    const Var y = swiglu_linear(ctx, gate_up, weight);
    if (!shared) gate_up = Var();
    backward(ctx, std::span(&y, 1), {make_tensor(ctx, {3, 2}, DType::f32, Vec(6, 1))}, add_into);
    EXPECT_EQ(leaf_of(x).grad().raw() == memory, !shared);
    if (shared) {
      EXPECT_TRUE(is_close(values_of(gate_up.value()), before, {}));
    }
  }
}

TEST_P(SwigluOn, BadInputIsNamed) {
  Context ctx = context();
  EXPECT_TRUE(fails_with(
      [&] {
        swiglu_linear(ctx, Var(ctx.zeros({2, 5}, DType::f32)), Var(ctx.zeros({3, 2}, DType::f32)));
      },
      "swiglu: gate_up of shape [2, 5] is not [R, 2F]"));
  EXPECT_TRUE(fails_with(
      [&] {
        swiglu_linear(ctx, Var(ctx.zeros({2, 6}, DType::f32)), Var(ctx.zeros({3, 2}, DType::f32)));
      },
      "linear: weight of shape [3, 2] does not match x of shape [2, 3]; "
      "[out, in] and [R, in] go together"));
  EXPECT_TRUE(fails_with(
      [&] {
        swiglu_forward(
            ctx, {.gate_up = ctx.zeros({2, 6}, DType::f32), .y = ctx.zeros({2, 3}, DType::bf16)});
      },
      "swiglu: bf16 y of shape [2, 3] does not match gate_up, f32 of shape [2, 6]"));
}

TEST(Swiglu, PlansItsMemory) {
  EXPECT_TRUE(plans_its_memory([](Context& ctx) {
    const Var x = make_parameter("x", ctx.zeros({65, 34}, DType::f32));
    const Var weight = make_parameter("weight", ctx.zeros({33, 17}, DType::f32));
    return swiglu_linear(ctx, add(ctx, x, x), weight);
  }));
}

}  // namespace
}  // namespace tessera::test
