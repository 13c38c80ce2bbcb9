#include "kernels/linear/op.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise/kernel.h"
#include "kernels/linear/kernel.h"
#include "tests/kernels/op_case.h"
#include "tests/support/compare.h"
#include "tests/support/gradcheck.h"
#include "tests/support/reference_ops.h"

namespace tessera::test {
namespace {

struct DTypes {
  DType in, out;
};
constexpr DTypes kDTypes[] = {{DType::f32, DType::f32},
                              {DType::bf16, DType::bf16},
                              {DType::bf16, DType::f32},
                              {DType::f64, DType::f64}};

// For sums of k products of normal numbers: the i-th of k partial sums, of size sqrt(i), is rounded
// to within u; independent errors add up to u k / sqrt(2), of which six are allowed. Then the
// result is rounded to its dtype.
Tolerance tolerance_of(DTypes dtypes, int64_t k) {
  return {.absolute = 6 * unit_roundoff(wide(dtypes.in)) * double(k + 1),
          .relative = unit_roundoff(dtypes.out)};
}

Vec transposed(const Vec& x, int64_t rows, int64_t columns) {
  Vec y(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) y[j * rows + i] = x[i * columns + j];
  return y;
}

// A matrix inside a wider one, `pad` columns of which are not its own.
Tensor make_padded(Context& ctx, int64_t rows, int64_t columns, int64_t pad, DType dtype,
                   const Vec& values) {
  const Tensor x = ctx.empty({rows, columns + pad}, dtype).slice(1, 0, columns);
  convert(ctx, x, make_tensor(ctx, {rows, columns}, dtype, values));
  return x;
}

struct MatmulCase {
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false, accumulate = false, bias = false;
  int64_t pad = 0;
};

std::string describe(const MatmulCase& c) {
  return fmt::format("{} x {} x {}{}{}{}{} pad {}", c.m, c.k, c.n, c.transpose_a ? " ta" : "",
                     c.transpose_b ? " tb" : "", c.accumulate ? " accumulate" : "",
                     c.bias ? " bias" : "", c.pad);
}

void check_matmul(Context& ctx, DTypes dtypes, const MatmulCase& c) {
  SCOPED_TRACE(
      fmt::format("isa {} {} -> {}, {}", int(ctx.isa()), dtypes.in, dtypes.out, describe(c)));
  const Vec a = representable("a", c.m * c.k, dtypes.in);
  const Vec b_transposed = representable("b", c.n * c.k, dtypes.in);  // [n, k]
  const Vec before = representable("c", c.m * c.n, dtypes.out);
  const Vec bias = c.bias ? representable("bias", c.n, DType::f32) : Vec();
  Vec exact = reference::linear_forward(a, b_transposed, bias, c.k);
  if (c.accumulate) exact = reference::add(exact, before);

  MatmulArgs args{
      .a = c.transpose_a ? make_padded(ctx, c.k, c.m, c.pad, dtypes.in, transposed(a, c.m, c.k))
                         : make_padded(ctx, c.m, c.k, c.pad, dtypes.in, a),
      .b = c.transpose_b
               ? make_padded(ctx, c.n, c.k, c.pad, dtypes.in, b_transposed)
               : make_padded(ctx, c.k, c.n, c.pad, dtypes.in, transposed(b_transposed, c.n, c.k)),
      .c = make_padded(ctx, c.m, c.n, c.pad, dtypes.out, before),
      .bias = c.bias ? make_tensor(ctx, {c.n}, wide(dtypes.in), bias) : Tensor(),
      .transpose_a = c.transpose_a,
      .transpose_b = c.transpose_b,
      .accumulate = c.accumulate};
  matmul(ctx, args);
  Tolerance tolerance = tolerance_of(dtypes, c.k);
  // cuBLASLt's bias has the dtype of c. Normal numbers stay below 5.
  if (c.bias && ctx.device() == Device::cuda) tolerance.absolute += 5 * unit_roundoff(dtypes.out);
  EXPECT_TRUE(is_close(values_of(args.c), expected({c.m, c.n}, dtypes.out, exact), tolerance));
}

void check_products(Context& ctx) {
  for (const DTypes dtypes : kDTypes) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        for (const bool accumulate : {false, true}) {
          const MatmulCase base{.m = 33,
                                .n = 127,
                                .k = 31,
                                .transpose_a = transpose_a,
                                .transpose_b = transpose_b,
                                .accumulate = accumulate};
          check_matmul(ctx, dtypes, base);
          MatmulCase padded = base;
          padded.pad = 5;
          check_matmul(ctx, dtypes, padded);
          for (const auto& [m, n] : {std::pair{1, 1}, {1, 127}, {33, 1}}) {
            padded.m = m, padded.n = n;
            check_matmul(ctx, dtypes, padded);
          }
          check_matmul(ctx, dtypes,
                       {.m = 17,
                        .n = 3,
                        .k = 4099,
                        .transpose_a = transpose_a,
                        .transpose_b = transpose_b,
                        .accumulate = accumulate});
        }
      }
    }
    check_matmul(ctx, dtypes, {.m = 65, .n = 33, .k = 40, .transpose_b = true, .bias = true});
  }
}

TEST(Matmul, EveryInstructionSetMatchesTheReference) {
  for (const Isa isa : machine_isas()) {
    Context ctx = cpu_context(isa, 2);
    check_products(ctx);
  }
}

class LinearOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, LinearOn, ::testing::ValuesIn(built_devices()), device_name);

TEST_P(LinearOn, ProductsMatchTheReference) {
  Context ctx = context();
  check_products(ctx);
}

// Sizes that f32 products choose their method by: few and many rows, short and long sums.
TEST(Matmul, EveryMethodMatchesTheReference) {
  for (const Isa isa : machine_isas()) {
    Context ctx = cpu_context(isa, 2);
    for (const DTypes dtypes : {kDTypes[0], kDTypes[1], kDTypes[2]}) {
      for (const bool transpose_b : {false, true}) {
        for (const int64_t m : {65, 513}) {
          for (const int64_t k : {31, 513, 1031}) {
            MatmulCase c{.m = m, .n = 67, .k = k, .transpose_b = transpose_b, .pad = 3};
            check_matmul(ctx, dtypes, c);
            c.accumulate = true;
            check_matmul(ctx, dtypes, c);
            c.accumulate = false, c.bias = true;
            check_matmul(ctx, dtypes, c);
          }
        }
      }
    }
  }
}

// From one row (generation) to where oneDNN takes over.
TEST(Matmul, FewRowsMatchTheReference) {
  for (const Isa isa : machine_isas()) {
    Context ctx = cpu_context(isa, 2);
    for (const DTypes dtypes : kDTypes) {
      for (const int64_t m : {1, 2, 3}) {
        for (const bool bias : {false, true}) {
          check_matmul(ctx, dtypes,
                       {.m = m, .n = 31, .k = 127, .transpose_b = true, .bias = bias, .pad = 3});
        }
      }
    }
  }
}

TEST(Matmul, RepeatsItselfBitForBit) {
  for (const DTypes dtypes : kDTypes) {
    Context ctx = cpu_context(machine_isas().back(), 2);
    const Tensor a =
        make_tensor(ctx, {301, 257}, dtypes.in, representable("a", 301 * 257, dtypes.in));
    Tensor c[2];
    for (Tensor& result : c) {
      result = ctx.empty({257, 257}, dtypes.out);
      matmul(ctx, {.a = a, .b = a, .c = result, .bias = {}, .transpose_a = true});
    }
    EXPECT_TRUE(is_bitwise_equal(c[1], c[0]));
  }
}

TEST(Matmul, FewRowsDoNotDependOnThreads) {
  for (const DTypes dtypes : kDTypes) {
    Tensor c[2];
    Context ctx[] = {cpu_context(machine_isas().back(), 1), cpu_context(machine_isas().back(), 2)};
    for (const int i : {0, 1}) {
      c[i] = ctx[i].empty({2, 1031}, dtypes.out);
      matmul(
          ctx[i],
          {.a = make_tensor(ctx[i], {2, 400}, dtypes.in, representable("a", 800, dtypes.in)),
           .b = make_tensor(ctx[i], {1031, 400}, dtypes.in, representable("b", 412400, dtypes.in)),
           .c = c[i],
           .bias = {},
           .transpose_b = true});
    }
    EXPECT_TRUE(is_bitwise_equal(c[1], c[0]));
  }
}

TEST(Matmul, BadInputIsNamed) {
  Context ctx = cpu_context();
  const auto zeros = [&](const Shape& shape, DType dtype) { return ctx.zeros(shape, dtype); };
  EXPECT_TRUE(fails_with(
      [&] {
        matmul(ctx, {.a = zeros({2, 3}, DType::f32),
                     .b = zeros({4, 5}, DType::f32),
                     .c = zeros({2, 4}, DType::f32),
                     .bias = {},
                     .transpose_b = true});
      },
      "matmul: a [2, 3] times b [4, 5] transposed does not give c [2, 4]"));
  EXPECT_TRUE(fails_with(
      [&] {
        matmul(ctx, {.a = zeros({2, 3}, DType::f32),
                     .b = zeros({3, 4}, DType::bf16),
                     .c = zeros({2, 4}, DType::f32),
                     .bias = {}});
      },
      "matmul: dtypes f32 times bf16 to f32; use f32, bf16 or f64 throughout, or bf16 to f32"));
  EXPECT_TRUE(fails_with(
      [&] {
        matmul(ctx, {.a = zeros({3, 2}, DType::f32).transpose(0, 1),
                     .b = zeros({3, 4}, DType::f32),
                     .c = zeros({2, 4}, DType::f32),
                     .bias = {}});
      },
      "matmul: a of shape [2, 3] and strides [1, 2] has no contiguous rows; copy it first"));
}

TEST(SumRows, MatchesTheReferenceForAnyThreads) {
  for (const Isa isa : machine_isas()) {
    for (const DType dtype : kComputeTypes) {
      for (const int64_t rows : {1, 127, 4099}) {
        Tensor sums[2];
        Context ctx[] = {cpu_context(isa, 1), cpu_context(isa, 2)};
        const Vec x = representable("x", rows * 67, dtype),
                  before = representable("s", 67, wide(dtype));
        for (const int i : {0, 1}) {
          sums[i] = make_tensor(ctx[i], {67}, wide(dtype), before);
          sum_rows(ctx[i], {.x = make_padded(ctx[i], rows, 67, 2, dtype, x),
                            .sums = sums[i],
                            .accumulate = true});
        }
        Vec exact = before;
        for (int64_t i = 0; i < rows * 67; ++i) exact[i % 67] += x[i];
        EXPECT_TRUE(is_close(values_of(sums[0]), expected({67}, wide(dtype), exact),
                             tolerance_of({dtype, wide(dtype)}, rows)));
        EXPECT_TRUE(is_bitwise_equal(sums[1], sums[0]));
      }
    }
  }
}

TEST_P(LinearOn, SumOfRowsMatchesTheReference) {
  Context ctx = context();
  for (const DType dtype : kComputeTypes) {
    for (const int64_t rows : {1, 127, 4099}) {
      const Vec x = representable("x", rows * 67, dtype);
      const Vec before = representable("s", 67, wide(dtype));
      for (const bool accumulate : {false, true}) {
        const Tensor sums = make_tensor(ctx, {67}, wide(dtype), before);
        sum_rows(
            ctx,
            {.x = make_padded(ctx, rows, 67, 2, dtype, x), .sums = sums, .accumulate = accumulate});
        Vec exact = accumulate ? before : Vec(67);
        for (int64_t i = 0; i < rows * 67; ++i) exact[i % 67] += x[i];
        EXPECT_TRUE(is_close(values_of(sums), expected({67}, wide(dtype), exact),
                             tolerance_of({dtype, wide(dtype)}, rows)));
      }
    }
  }
}

TEST_P(LinearOn, GradientsInDouble) {
  Context ctx = context(/*threads=*/1);
  const auto make = [&](const char* name, const Shape& shape) {
    return make_tensor(ctx, shape, DType::f64, reference::random_values(name, shape.elements()));
  };
  const std::vector<Tensor> inputs{make("x", {5, 7}), make("weight", {4, 7}), make("bias", {4})};
  EXPECT_TRUE(gradcheck_op(
      ctx, [](Context& c, const std::vector<Var>& in) { return linear(c, in[0], in[1]); },
      {inputs[0], inputs[1]}, add_into, gradcheck_options()));
  EXPECT_TRUE(gradcheck_op(
      ctx, [](Context& c, const std::vector<Var>& in) { return linear(c, in[0], in[1], in[2]); },
      inputs, add_into, gradcheck_options()));
}

// x of a column slice; the weight used twice, so that its gradient accumulates.
TEST(Linear, GradientsMatchTheReference) {
  for (const Isa isa : machine_isas()) {
    Context ctx = cpu_context(isa, 2);
    for (const DType dtype : kComputeTypes) {
      const int64_t rows = 33, in = 65, out = 31;
      const Vec x = representable("x", rows * in, dtype), w = representable("w", out * in, dtype);
      const Vec dy = representable("dy", rows * out, dtype);
      const Var weight = make_parameter("weight", make_tensor(ctx, {out, in}, dtype, w));
      const Var bias = make_parameter("bias", ctx.zeros({out}, wide(dtype)));
      const Var input = make_parameter("x", make_padded(ctx, rows, in, 3, dtype, x));
      for (int pass = 0; pass < 2; ++pass) {
        const Var y = linear(ctx, input, weight, bias);
        backward(ctx, std::span(&y, 1), {make_tensor(ctx, {rows, out}, dtype, dy)}, add_into);
      }
      reference::LinearGradients exact = reference::linear_backward(x, w, dy, in);
      for (Vec* g : {&exact.dx, &exact.dweight, &exact.dbias})
        for (double& value : *g) value *= 2;
      const DTypes dtypes{dtype, wide(dtype)};
      EXPECT_TRUE(is_close(values_of(leaf_of(input).grad()),
                           expected({rows, in}, wide(dtype), exact.dx),
                           tolerance_of(dtypes, 2 * out)));
      EXPECT_TRUE(is_close(values_of(leaf_of(weight).grad()),
                           expected({out, in}, wide(dtype), exact.dweight),
                           tolerance_of(dtypes, 2 * rows)));
      EXPECT_TRUE(is_close(values_of(leaf_of(bias).grad()),
                           expected({out}, wide(dtype), exact.dbias),
                           tolerance_of(dtypes, 2 * rows)));
    }
  }
}

TEST(Linear, SavesOnlyWhatItsGradientsNeed) {
  Context ctx = cpu_context();
  const auto zeros = [&](const Shape& shape) { return ctx.zeros(shape, DType::f32); };
  const Var constant_x(zeros({12, 4})), constant_weight(zeros({3, 4}));
  const Var x = make_parameter("x", zeros({12, 4})), weight = make_parameter("w", zeros({3, 4}));
  const auto uses = [](const Var& v) { return v.value().storage().use_count(); };
  const Var y = linear(ctx, x, constant_weight), z = linear(ctx, constant_x, weight);
  EXPECT_EQ(uses(x), 1);
  EXPECT_EQ(uses(constant_weight), 2);
  EXPECT_EQ(uses(weight), 1);
  EXPECT_EQ(uses(constant_x), 2);
}

TEST(Linear, PlansItsMemory) {
  for (const DType dtype : kComputeTypes) {
    EXPECT_TRUE(plans_its_memory([dtype](Context& ctx) {
      const Var x = make_parameter("x", ctx.zeros({165, 134}, dtype));
      const Var weight = make_parameter("weight", ctx.zeros({97, 134}, dtype));
      const Var square = make_parameter("square", ctx.zeros({97, 97}, dtype));
      const Var bias = make_parameter("bias", ctx.zeros({97}, wide(dtype)));
      return linear(ctx, linear(ctx, x, weight), square, bias);
    })) << name_of(dtype);
  }
}

TEST(Linear, BadInputIsNamed) {
  Context ctx = cpu_context();
  const Var x(ctx.zeros({2, 3}, DType::f32));
  EXPECT_TRUE(fails_with(
      [&] {
        linear(ctx, x, Var(ctx.zeros({4, 2}, DType::f32)));
      },
      "linear: weight of shape [4, 2] does not match x of shape [2, 3]; "
      "[out, in] and [R, in] go together"));
  EXPECT_TRUE(fails_with(
      [&] {
        linear(ctx, x, Var(ctx.zeros({4, 3}, DType::bf16)));
      },
      "linear: x is f32, the weight bf16; use one dtype"));
  EXPECT_TRUE(fails_with(
      [&] {
        linear(ctx, x, Var(ctx.zeros({4, 3}, DType::f32)), Var(ctx.zeros({3}, DType::f32)));
      },
      "matmul: bias f32 [3] must be f32 [4], and c not be accumulated"));
}

}  // namespace
}  // namespace tessera::test
