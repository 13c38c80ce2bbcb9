#include "kernels/swiglu/op.h"

#include "kernels/elementwise/op.h"
#include "kernels/swiglu/kernel.h"
#include "tests/kernels/op_case.h"
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
  const Tensor dx = in_place ? x : ctx.empty({rows, 2 * width}, dtype);
  swiglu_backward(ctx,
                  {.gate_up = x, .dy = make_tensor(ctx, {rows, width}, dtype, dy), .dgate_up = dx});
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

TEST(Swiglu, MatchesTheReference) {
  for (const Isa isa : machine_isas()) {
    Context ctx = cpu_context(isa, 2);
    for (const DType dtype : kComputeTypes) {
      for (const int64_t width : kAwkwardSizes) {
        SCOPED_TRACE(fmt::format("isa {} {} width {}", int(isa), name_of(dtype), width));
        check_forward(ctx, dtype, 5, width);
        check_backward(ctx, dtype, 5, width, false);
        check_backward(ctx, dtype, 5, width, true);
      }
    }
  }
}

TEST(Swiglu, LargeArgumentsStayFinite) {
  Context ctx = cpu_context();
  const Tensor gate_up = make_tensor(ctx, {1, 4}, DType::f32, {-200, 200, 2, 3});
  const Tensor y = ctx.empty({1, 2}, DType::f32), dx = ctx.empty({1, 4}, DType::f32);
  swiglu_forward(ctx, {.gate_up = gate_up, .y = y});
  EXPECT_TRUE(is_close(values_of(y), expected({1, 2}, DType::f32, {0, 600}), {}));
  swiglu_backward(
      ctx,
      {.gate_up = gate_up, .dy = make_tensor(ctx, {1, 2}, DType::f32, {1, 1}), .dgate_up = dx});
  EXPECT_TRUE(is_close(values_of(dx), expected({1, 4}, DType::f32, {0, 3, 0, 200}), {}));
}

TEST(Swiglu, DoesNotDependOnThreads) {
  for (const DType dtype : kComputeTypes) {
    Tensor y[2], dx[2];
    Context ctx[] = {cpu_context(machine_isas().back(), 1), cpu_context(machine_isas().back(), 2)};
    for (const int i : {0, 1}) {
      const Tensor x = make_tensor(ctx[i], {301, 254}, dtype, representable("x", 301 * 254, dtype));
      y[i] = ctx[i].empty({301, 127}, dtype);
      dx[i] = ctx[i].empty({301, 254}, dtype);
      swiglu_forward(ctx[i], {.gate_up = x, .y = y[i]});
      swiglu_backward(ctx[i], {.gate_up = x, .dy = y[i], .dgate_up = dx[i]});
    }
    EXPECT_TRUE(is_bitwise_equal(y[1], y[0]));
    EXPECT_TRUE(is_bitwise_equal(dx[1], dx[0]));
  }
}

TEST(Swiglu, GradientsInDouble) {
  Context ctx = cpu_context();
  const Tensor x = make_tensor(ctx, {3, 14}, DType::f64, reference::random_values("x", 42));
  const auto f = [](Context& c, const std::vector<Var>& in) { return swiglu(c, in[0]); };
  EXPECT_TRUE(gradcheck_op(ctx, f, {x}, add_into));
}

TEST(Swiglu, BackwardReusesTheSavedTensorUnlessItIsShared) {
  Context ctx = cpu_context();
  const Var x = make_parameter("x", make_tensor(ctx, {3, 8}, DType::f32, Vec(24, 0.5)));
  const Var zero(ctx.zeros({3, 8}, DType::f32));
  for (const bool shared : {false, true}) {
    leaf_of(x).clear_grad();
    Var gate_up = add(ctx, x, zero);
    const std::byte* memory = gate_up.value().raw();
    const Values before = values_of(gate_up.value());
    const Var y = swiglu(ctx, gate_up);
    if (!shared) gate_up = Var();
    backward(ctx, std::span(&y, 1), {make_tensor(ctx, {3, 4}, DType::f32, Vec(12, 1))}, add_into);
    EXPECT_EQ(leaf_of(x).grad().raw() == memory, !shared);
    if (shared) {
      EXPECT_TRUE(is_close(values_of(gate_up.value()), before, {}));
    }
  }
}

TEST(Swiglu, BadInputIsNamed) {
  Context ctx = cpu_context();
  EXPECT_TRUE(fails_with(
      [&] {
        swiglu(ctx, Var(ctx.zeros({2, 5}, DType::f32)));
      },
      "swiglu: gate_up of shape [2, 5] is not [R, 2F]"));
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
    return swiglu(ctx, add(ctx, x, x));
  }));
}

}  // namespace
}  // namespace tessera::test
