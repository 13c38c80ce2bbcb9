#include "kernels/rms_norm/op.h"

#include <cmath>

#include "kernels/elementwise/kernel.h"
#include "kernels/elementwise/op.h"
#include "kernels/linear/op.h"
#include "kernels/rms_norm/kernel.h"
#include "tests/kernels/device_case.h"
#include "tests/support/compare.h"
#include "tests/support/gradcheck.h"
#include "tests/support/reference_ops.h"
#include "tests/support/rounding.h"

namespace tessera::test {
namespace {

constexpr float kEps = 1e-5f;

// A sum of n positive terms in 8 lanes errs by at most n / 8 + 3 roundoffs; 16 more for what
// follows; and half a unit of the dtype for the result.
double relative_bound(DType dtype, int64_t n) {
  return (double(n) / 8 + 16) * unit_roundoff(wide(dtype)) +
         (dtype == DType::bf16 ? unit_roundoff(dtype) : 0);
}

Vec rounded_sum(const Vec& a, const Vec& b, DType dtype) {
  Vec sum = reference::add(a, b);
  for (double& v : sum) {
    if (dtype == DType::bf16) v = reference::round_bf16(v);
    if (dtype == DType::f32) v = reference::round_f32(v);
  }
  return sum;
}

// One layer of data: rows of x, a residual, gradients of both outputs.
struct Case {
  DType dtype;
  int64_t rows, columns;
  Vec x, residual, weight, dsum, dy;
  bool unaligned_weight = false;

  Case(DType type, int64_t r, int64_t c) : dtype(type), rows(r), columns(c) {
    x = representable("x", r * c, type);
    residual = representable("residual", r * c, type);
    dsum = representable("dsum", r * c, type);
    dy = representable("dy", r * c, type);
    weight = representable("weight", c, wide(type));
  }
  Shape shape() const { return {rows, columns}; }
  Tensor tensor(Context& ctx, const Vec& values) const {
    return make_tensor(ctx, shape(), dtype, values);
  }
  Tensor weight_tensor(Context& ctx) const {
    return (unaligned_weight ? make_unaligned : make_tensor)(ctx, {columns}, wide(dtype), weight);
  }
};

struct ForwardResult {
  Tensor sum, y, rstd;
};
ForwardResult run_forward(Context& ctx, const Case& c, bool with_residual) {
  ForwardResult r{
      .sum = {}, .y = ctx.empty(c.shape(), c.dtype), .rstd = ctx.empty({c.rows}, wide(c.dtype))};
  if (with_residual) r.sum = ctx.empty(c.shape(), c.dtype);
  rms_norm_forward(ctx, {.x = c.tensor(ctx, c.x),
                         .residual = with_residual ? c.tensor(ctx, c.residual) : Tensor(),
                         .weight = c.weight_tensor(ctx),
                         .sum = r.sum,
                         .y = r.y,
                         .rstd = r.rstd,
                         .eps = kEps});
  return r;
}

void check_forward(Context& ctx, const Case& c, bool with_residual) {
  const ForwardResult r = run_forward(ctx, c, with_residual);
  const Vec x = with_residual ? rounded_sum(c.x, c.residual, c.dtype) : c.x;
  if (with_residual) {
    EXPECT_TRUE(is_close(values_of(r.sum), expected(c.shape(), c.dtype, x), {}));
  }
  const Vec y = reference::rms_norm_forward(x, c.weight, kEps);
  EXPECT_TRUE(is_close(values_of(r.y), expected(c.shape(), c.dtype, y),
                       {.absolute = 0, .relative = relative_bound(c.dtype, c.columns)}));
}

struct BackwardResult {
  Tensor dx, y, dweight;
};
BackwardResult run_backward(Context& ctx, const Case& c, bool with_dsum, bool accumulate) {
  const ForwardResult f = run_forward(ctx, c, false);
  const Tensor dy = c.tensor(ctx, c.dy);
  BackwardResult r{.dx = ctx.empty(c.shape(), c.dtype),
                   .y = with_dsum ? dy : ctx.empty(c.shape(), c.dtype),  // in place, or not
                   .dweight = make_tensor(ctx, {c.columns}, wide(c.dtype), c.weight)};
  rms_norm_backward(ctx, {.x = c.tensor(ctx, c.x),
                          .weight = c.weight_tensor(ctx),
                          .rstd = f.rstd,
                          .dy = dy,
                          .dsum = with_dsum ? c.tensor(ctx, c.dsum) : Tensor(),
                          .dx = r.dx,
                          .y = r.y,
                          .dweight = r.dweight,
                          .accumulate_dweight = accumulate});
  EXPECT_TRUE(is_bitwise_equal(r.y, f.y));
  return r;
}

void check_backward(Context& ctx, const Case& c, bool with_dsum) {
  const BackwardResult r = run_backward(ctx, c, with_dsum, /*accumulate=*/with_dsum);
  const Vec dsum = with_dsum ? c.dsum : Vec(c.dsum.size(), 0);
  const auto want = reference::add_rms_norm_backward(c.x, c.weight, dsum, c.dy, kEps);
  // In one column dx = g rstd (1 - xhat^2) cancels: the error is that of the terms.
  const double terms = 1 / std::max(1e-3, measure(want.dsum, dsum).root_mean_square);
  EXPECT_TRUE(is_close_l2(values_of(r.dx), expected(c.shape(), c.dtype, want.dsum),
                          c.columns == 1 ? 4 * terms * relative_bound(c.dtype, 1)
                                         : 2 * relative_bound(c.dtype, c.columns)));
  const Vec dweight = with_dsum ? reference::add(want.dweight, c.weight) : want.dweight;
  EXPECT_TRUE(is_close_l2(values_of(r.dweight), expected({c.columns}, wide(c.dtype), dweight),
                          2 * relative_bound(wide(c.dtype), c.columns + c.rows)));
}

// 64: columns that are moved 16 bytes at a time, by a warp; 1536: by a block.
std::vector<int64_t> column_counts() {
  std::vector<int64_t> counts(std::begin(kAwkwardSizes), std::end(kAwkwardSizes));
  counts.insert(counts.end(), {64, 1536});
  return counts;
}

void check_all(Context& ctx) {
  for (const DType dtype : kComputeTypes) {
    for (const int64_t columns : column_counts()) {
      const Case c(dtype, 9, columns);
      SCOPED_TRACE(fmt::format("{} columns {}", name_of(dtype), columns));
      for (const bool fused : {false, true}) {
        check_forward(ctx, c, fused);
        check_backward(ctx, c, fused);
      }
    }
  }
}

TEST(RmsNorm, EveryInstructionSetMatchesTheReference) {
  for (const Isa isa : machine_isas()) {
    SCOPED_TRACE(fmt::format("isa {}", int(isa)));
    Context ctx = cpu_context(isa, 2);
    check_all(ctx);
  }
}

class RmsNormOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, RmsNormOn, ::testing::ValuesIn(built_devices()), device_name);

TEST_P(RmsNormOn, MatchesTheReference) {
  Context ctx = context();
  check_all(ctx);
}

TEST_P(RmsNormOn, ManyRowsMatchTheReference) {
  Context ctx = context();
  for (const DType dtype : kComputeTypes) {
    for (const int64_t rows : {int64_t{1}, int64_t{4099}}) {
      const Case c(dtype, rows, 33);
      check_forward(ctx, c, true);
      check_backward(ctx, c, true);
    }
  }
}

// Of columns that are moved 16 bytes at a time otherwise.
TEST_P(RmsNormOn, WeightMayBeUnaligned) {
  Context ctx = context();
  for (const DType dtype : kComputeTypes) {
    for (const int64_t columns : {64, 1536}) {
      Case c(dtype, 3, columns);
      c.unaligned_weight = true;
      check_forward(ctx, c, true);
      check_backward(ctx, c, true);
    }
  }
}

// The sums of dweight are the 48 KiB that a launch may have without asking, were it not for the
// kernel's own arrays.
TEST_P(RmsNormOn, BackwardOfWideRowsMatchesTheReference) {
  Context ctx = context();
  check_backward(ctx, Case(DType::f32, 2, 12288), true);
}

TEST(RmsNorm, DoesNotDependOnThreads) {
  for (const DType dtype : kComputeTypes) {
    const Case c(dtype, 2053, 127);
    Context one = cpu_context(machine_isas().back(), 1),
            two = cpu_context(machine_isas().back(), 2);
    const BackwardResult a = run_backward(one, c, true, false);
    const BackwardResult b = run_backward(two, c, true, false);
    EXPECT_TRUE(is_bitwise_equal(b.dx, a.dx));
    EXPECT_TRUE(is_bitwise_equal(b.dweight, a.dweight));
    EXPECT_TRUE(is_bitwise_equal(run_forward(two, c, true).y, run_forward(one, c, true).y));
  }
}

TEST_P(RmsNormOn, NormalisesHeadsOfAStridedView) {
  Context ctx = context();
  const int64_t n = 7, heads = 5, dim = 24;
  const Vec x = representable("x", n * heads * dim, DType::f32);
  const Vec weight = representable("weight", dim, DType::f32);
  const Tensor all = make_tensor(ctx, {n, heads, dim}, DType::f32, x);
  const Tensor out = ctx.zeros({n, heads, dim}, DType::f32);
  const Tensor part = all.slice(1, 1, 3), y = out.slice(1, 1, 3);
  rms_norm_forward(ctx, {.x = part,
                         .residual = {},
                         .weight = make_tensor(ctx, {dim}, DType::f32, weight),
                         .sum = {},
                         .y = y,
                         .rstd = {},
                         .eps = kEps});
  const Vec want = reference::rms_norm_forward(values_of(part).data, weight, kEps);
  EXPECT_TRUE(is_close(values_of(y), expected({n, 2, dim}, DType::f32, want),
                       {.absolute = 0, .relative = relative_bound(DType::f32, dim)}));
  for (const auto& [begin, end] : {std::pair{0, 1}, {3, 5}})
    for (const double v : values_of(out.slice(1, begin, end)).data) EXPECT_EQ(v, 0);
}

std::vector<Tensor> double_inputs(Context& ctx, const std::vector<Shape>& shapes) {
  std::vector<Tensor> inputs;
  for (const Shape& shape : shapes) {
    const std::string name = fmt::format("input {}", inputs.size());
    inputs.push_back(
        make_tensor(ctx, shape, DType::f64, reference::random_values(name, shape.elements())));
  }
  return inputs;
}

TEST_P(RmsNormOn, GradientsInDouble) {
  Context ctx = context();
  const auto norm = [](Context& c, const std::vector<Var>& in) {
    return rms_norm(c, in[0], in[1], kEps);
  };
  EXPECT_TRUE(
      gradcheck_op(ctx, norm, double_inputs(ctx, {{4, 7}, {7}}), add_into, gradcheck_options()));
  // x is used twice: its gradient accumulates in place, or apart where the first is shared.
  const auto twice = [&](Context& c, const std::vector<Var>& in) {
    return add(c, norm(c, in), norm(c, in));
  };
  EXPECT_TRUE(
      gradcheck_op(ctx, twice, double_inputs(ctx, {{4, 7}, {7}}), add_into, gradcheck_options()));
  const auto with_input = [&](Context& c, const std::vector<Var>& in) {
    return add(c, norm(c, in), in[0]);
  };
  EXPECT_TRUE(gradcheck_op(ctx, with_input, double_inputs(ctx, {{4, 7}, {7}}), add_into,
                           gradcheck_options()));
}

TEST_P(RmsNormOn, AddGradientsInDouble) {
  Context ctx = context();
  const std::vector<Tensor> inputs = double_inputs(ctx, {{4, 7}, {4, 7}, {7}});
  for (const int used : {0, 1, 2}) {  // the sum only, the norm only, both
    const auto f = [used](Context& c, const std::vector<Var>& in) {
      const AddNorm out = add_rms_norm(c, in[0], in[1], in[2], kEps);
      return used == 0 ? out.sum : used == 1 ? out.normed : add(c, out.sum, out.normed);
    };
    EXPECT_TRUE(gradcheck_op(ctx, f, inputs, add_into, gradcheck_options())) << used;
  }
}

TEST_P(RmsNormOn, AddGradientsOfAResidualStream) {
  Context ctx = context();
  const auto f = [](Context& c, const std::vector<Var>& in) {
    AddNorm a = add_rms_norm(c, in[0], in[1], in[2], kEps);
    AddNorm b = add_rms_norm(c, a.sum, a.normed, in[2], kEps);
    return add_rms_norm(c, b.sum, b.normed, in[2], kEps).normed;
  };
  EXPECT_TRUE(gradcheck_op(ctx, f, double_inputs(ctx, {{3, 9}, {3, 9}, {9}}), add_into,
                           gradcheck_options()));
}

TEST_P(RmsNormOn, AddBackwardOverwritesTheGradientOfTheSumUnlessItIsShared) {
  Context ctx = context();
  const Case c(DType::f32, 3, 8);
  for (const bool shared : {false, true}) {
    const Var x = make_parameter("x", c.tensor(ctx, c.x));
    const Var residual = make_parameter("residual", c.tensor(ctx, c.residual));
    const AddNorm out = add_rms_norm(ctx, x, residual, Var(c.weight_tensor(ctx)), kEps);
    std::vector<Tensor> grads{c.tensor(ctx, c.dsum), c.tensor(ctx, c.dy)};
    const std::byte* memory = grads[0].raw();
    const Tensor other = shared ? grads[0] : Tensor();
    const Var roots[] = {out.sum, out.normed};
    backward(ctx, roots, std::move(grads), add_into);
    EXPECT_EQ(leaf_of(x).grad().raw() == memory, !shared);
    EXPECT_EQ(leaf_of(x).grad().storage(), leaf_of(residual).grad().storage());
    if (shared) {
      EXPECT_TRUE(is_close(values_of(other), expected(c.shape(), c.dtype, c.dsum), {}));
    }
  }
}

// rms_norm_linear of x, the residual if there is one, both weights, the bias if there is one.
NormLinear norm_linear_of(Context& ctx, const std::vector<Var>& in, bool residual, bool bias) {
  const size_t norm = residual ? 2 : 1;
  return rms_norm_linear(ctx, in[0], residual ? std::optional(in[1]) : std::nullopt, in[norm],
                         in[norm + 1], bias ? std::optional(in.back()) : std::nullopt, kEps);
}
// The same of two ops, the first of which hands its output to the second.
NormLinear two_ops(Context& ctx, const std::vector<Var>& in, bool residual, bool bias) {
  const size_t norm = residual ? 2 : 1;
  const AddNorm normed = residual ? add_rms_norm(ctx, in[0], in[1], in[norm], kEps)
                                  : AddNorm{in[0], rms_norm(ctx, in[0], in[norm], kEps)};
  return {normed.sum, bias ? linear(ctx, normed.normed, in[norm + 1], in.back())
                           : linear(ctx, normed.normed, in[norm + 1])};
}

std::vector<Shape> norm_linear_shapes(int64_t rows, int64_t width, bool residual, bool bias) {
  std::vector<Shape> shapes{{rows, width}};
  if (residual) shapes.push_back({rows, width});
  shapes.insert(shapes.end(), {{width}, {width, width}});
  if (bias) shapes.push_back({width});
  return shapes;
}

TEST_P(RmsNormOn, LinearGradientsInDouble) {
  Context ctx = context(1);
  for (const bool residual : {false, true}) {
    for (const bool bias : {false, true}) {
      for (const int used : {0, 1, 2}) {  // the sum only, y only, both
        const auto f = [&](Context& c, const std::vector<Var>& in) {
          const NormLinear out = norm_linear_of(c, in, residual, bias);
          return used == 0 ? out.sum : used == 1 ? out.y : add(c, out.sum, out.y);
        };
        if (used == 0 && !residual) continue;  // the sum is x itself
        EXPECT_TRUE(gradcheck_op(ctx, f,
                                 double_inputs(ctx, norm_linear_shapes(4, 7, residual, bias)),
                                 add_into, gradcheck_options()))
            << residual << bias << used;
      }
    }
  }
}

// Backward makes the normed rows again: they must be the same, bit for bit, and so must be all that
// is computed from them. In bf16 x is a constant, as gradients of leaves are f32.
TEST_P(RmsNormOn, LinearIsTheTwoOpsBitForBit) {
  Context ctx = context();
  const int64_t rows = 33, width = 40;
  for (const DType dtype : kComputeTypes) {
    for (const bool residual : {false, true}) {
      std::vector<Tensor> results[2];
      for (const int way : {0, 1}) {
        std::vector<Var> in;
        for (const Shape& shape : norm_linear_shapes(rows, width, residual, true)) {
          const std::string name = fmt::format("input {}", in.size());
          const DType type = shape.rank() == 1 ? wide(dtype) : dtype;
          const Tensor value =
              make_tensor(ctx, shape, type, representable(name, shape.elements(), type));
          const bool constant = dtype == DType::bf16 && shape == Shape{rows, width};
          in.push_back(constant ? Var(value) : make_parameter(name, value));
        }
        const NormLinear out = (way == 0 ? norm_linear_of : two_ops)(ctx, in, residual, true);
        results[way] = {out.sum.value(), out.y.value()};
        const Tensor dy =
            make_tensor(ctx, {rows, width}, dtype, representable("dy", rows * width, dtype));
        std::vector<Var> roots{out.y};
        std::vector<Tensor> grads{dy};
        if (residual) {
          roots.push_back(out.sum);
          grads.push_back(
              make_tensor(ctx, {rows, width}, dtype, representable("dsum", rows * width, dtype)));
        }
        backward(ctx, roots, std::move(grads), add_into);
        for (const Var& input : in)
          if (input.requires_grad()) results[way].push_back(leaf_of(input).grad());
      }
      ASSERT_EQ(results[0].size(), results[1].size());
      for (size_t i = 0; i < results[0].size(); ++i)
        EXPECT_TRUE(is_bitwise_equal(results[0][i], results[1][i]))
            << name_of(dtype) << " residual " << residual << " result " << i;
    }
  }
}

TEST_P(RmsNormOn, QkNormNormalisesQAndKAndCopiesV) {
  const int64_t n = 33, heads = 3, kv_heads = 2, dim = 20, width = (heads + 2 * kv_heads) * dim;
  for (const DType dtype : kComputeTypes) {
    Context ctx = context();
    const Vec x = representable("x", n * width, dtype);
    const Vec qw = representable("qw", dim, wide(dtype)),
              kw = representable("kw", dim, wide(dtype));
    const Var y = qk_norm(ctx, Var(make_tensor(ctx, {n, width}, dtype, x)),
                          Var(make_tensor(ctx, {dim}, wide(dtype), qw)),
                          Var(make_tensor(ctx, {dim}, wide(dtype), kw)), heads, kv_heads, kEps);
    const auto part = [&](int64_t begin, int64_t end) {
      return reference::take_columns(x, width, begin * dim, end * dim);
    };
    Vec want(x);
    reference::put_columns(want, width, 0, heads * dim,
                           reference::rms_norm_forward(part(0, heads), qw, kEps));
    reference::put_columns(want, width, heads * dim, (heads + kv_heads) * dim,
                           reference::rms_norm_forward(part(heads, heads + kv_heads), kw, kEps));
    EXPECT_TRUE(is_close(values_of(y.value()), expected({n, width}, dtype, want),
                         {.absolute = 0, .relative = relative_bound(dtype, dim)}));
  }
}

TEST_P(RmsNormOn, QkNormGradientsInDouble) {
  Context ctx = context();
  const auto f = [](Context& c, const std::vector<Var>& in) {
    return qk_norm(c, in[0], in[1], in[2], 3, 2, kEps);
  };
  const std::vector<Tensor> inputs = double_inputs(ctx, {{4, 7 * 6}, {6}, {6}});
  EXPECT_TRUE(gradcheck_op(ctx, f, inputs, add_into, gradcheck_options()));
  // The gradient is used elsewhere too, so that it must not be overwritten.
  const auto shared = [&](Context& c, const std::vector<Var>& in) {
    return add(c, f(c, in), in[0]);
  };
  EXPECT_TRUE(gradcheck_op(ctx, shared, inputs, add_into, gradcheck_options()));
}

// The second of two rows begins 2^31 elements behind the first. Little of the memory is touched.
TEST_P(RmsNormOn, RowsMayBeFarApart) {
  constexpr int64_t kStride = (int64_t{1} << 31) + 64, kColumns = 64;
  Context ctx({.device = GetParam(), .isa = machine_isas().back()});  // not filled with NaN
  Tensor memory;
  try {
    memory = ctx.empty({2, kStride}, DType::bf16);
  } catch (const OutOfMemory&) {
    GTEST_SKIP() << "8 GiB cannot be reserved";
  }
  const Case c(DType::bf16, 2, kColumns);
  const Tensor far = memory.slice(1, 0, kColumns), dx = ctx.empty({2, kColumns}, DType::bf16);
  convert(ctx, far, c.tensor(ctx, c.x));
  const ForwardResult near = run_forward(ctx, c, false);
  const Tensor weight = c.weight_tensor(ctx);
  rms_norm_backward(ctx, {.x = far,
                          .weight = weight,
                          .rstd = near.rstd,
                          .dy = c.tensor(ctx, c.dy),
                          .dsum = {},
                          .dx = dx,
                          .y = {},
                          .dweight = {},
                          .accumulate_dweight = false});
  EXPECT_TRUE(is_bitwise_equal(dx, run_backward(ctx, c, false, false).dx));
  rms_norm_forward(
      ctx,
      {.x = far, .residual = {}, .weight = weight, .sum = {}, .y = far, .rstd = {}, .eps = kEps});
  const Tensor y = ctx.empty({2, kColumns}, DType::bf16);
  convert(ctx, y, far);
  EXPECT_TRUE(is_bitwise_equal(y, near.y));
}

TEST(RmsNorm, BadInputIsNamed) {
  Context ctx = cpu_context();
  const Var x(ctx.zeros({2, 4}, DType::f32));
  EXPECT_TRUE(fails_with([&] { rms_norm(ctx, x, Var(ctx.zeros({3}, DType::f32)), kEps); },
                         "rms_norm: weight of shape [3] does not match x of shape [2, 4]"));
  EXPECT_TRUE(fails_with([&] { rms_norm(ctx, x, Var(ctx.zeros({4}, DType::bf16)), kEps); },
                         "rms_norm: weight has dtype bf16; with x of dtype f32 it is f32"));
  EXPECT_TRUE(fails_with(
      [&] {
        add_rms_norm(ctx, x, Var(ctx.zeros({2, 5}, DType::f32)), Var(ctx.zeros({4}, DType::f32)),
                     kEps);
      },
      "rms_norm: f32 residual of shape [2, 5] does not match x, f32 of shape [2, 4]"));
  const Var w(ctx.zeros({4}, DType::f32)), none(ctx.zeros({2, 0}, DType::f32));
  EXPECT_TRUE(fails_with([&] { rms_norm(ctx, none, w, kEps); },
                         "rms_norm: x of shape [2, 0] has no columns"));
  EXPECT_TRUE(fails_with(
      [&] { qk_norm(ctx, x, w, w, 2, 1, kEps); },
      "qk_norm: qkv of shape [2, 4] does not hold 2 + 2 * 1 heads of q_weight's shape [4]"));
}

TEST(RmsNorm, PlansItsMemory) {
  EXPECT_TRUE(plans_its_memory([](Context& ctx) {
    const Var x = make_parameter("x", ctx.zeros({301, 7 * 32}, DType::f32));
    const Var w = make_parameter("w", ctx.zeros({7 * 32}, DType::f32));
    const Var head = make_parameter("head", ctx.zeros({32}, DType::f32));
    AddNorm a = add_rms_norm(ctx, x, rms_norm(ctx, x, w, kEps), w, kEps);
    const Var normed = qk_norm(ctx, a.normed, head, head, 3, 2, kEps);
    const Var square = make_parameter("square", ctx.zeros({7 * 32, 7 * 32}, DType::f32));
    const Var bias = make_parameter("bias", ctx.zeros({7 * 32}, DType::f32));
    NormLinear b = rms_norm_linear(ctx, a.sum, normed, w, square, bias, kEps);
    return add(ctx, b.sum, rms_norm_linear(ctx, b.y, std::nullopt, w, square, {}, kEps).y);
  }));
}

}  // namespace
}  // namespace tessera::test
