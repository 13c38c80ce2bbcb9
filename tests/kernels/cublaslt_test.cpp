// kernels/linear/cublaslt.cpp on host memory, with a library that stands in for NVIDIA's.
#include "kernels/linear/cublaslt.h"

#include <deque>

#include "kernels/elementwise/kernel.h"
#include "tests/kernels/fake_cublaslt.h"
#include "tests/kernels/op_case.h"
#include "tests/support/compare.h"
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

// A matrix inside a wider one.
Tensor make_padded(Context& ctx, int64_t rows, int64_t columns, DType dtype, const char* name) {
  const Tensor x = ctx.empty({rows, columns + 5}, dtype).slice(1, 0, columns);
  const Vec values = representable(name, rows * columns, dtype);
  convert(ctx, x, make_tensor(ctx, {rows, columns}, dtype, values));
  return x;
}

MatmulArgs make_args(Context& ctx, DTypes dtypes, bool transpose_a, bool transpose_b) {
  constexpr int64_t m = 13, n = 9, k = 17;
  return {.a = transpose_a ? make_padded(ctx, k, m, dtypes.in, "a")
                           : make_padded(ctx, m, k, dtypes.in, "a"),
          .b = transpose_b ? make_padded(ctx, n, k, dtypes.in, "b")
                           : make_padded(ctx, k, n, dtypes.in, "b"),
          .c = make_padded(ctx, m, n, dtypes.out, "c"),
          .bias = {},
          .transpose_a = transpose_a,
          .transpose_b = transpose_b};
}

Tensor workspace_of(Context& ctx) {
  return ctx.workspace(kCublasLtWorkspaceBytes);
}

// Against matmul on the CPU, whose bias has the dtype of sums. Both may err by linear_test.cpp's
// bound, 6 u (k + 1): 216 u in all.
void check_product(Context& ctx, const MatmulArgs& args) {
  MatmulArgs other = args;
  other.c = ctx.empty(args.c.shape(), args.c.dtype());
  convert(ctx, other.c, args.c);
  if (args.bias.defined()) {
    other.bias = ctx.empty(args.bias.shape(), wide(args.c.dtype()));
    convert(ctx, other.bias, args.bias);
  }
  cublaslt_matmul(ctx, args, workspace_of(ctx));
  matmul(ctx, other);
  SCOPED_TRACE(fmt::format("{} -> {}, transposed {} {}", args.a.dtype(), args.c.dtype(),
                           args.transpose_a, args.transpose_b));
  EXPECT_TRUE(is_close(values_of(args.c), values_of(other.c),
                       {.absolute = 200 * unit_roundoff(wide(args.a.dtype())),
                        .relative = 2 * unit_roundoff(args.c.dtype())}));
}

TEST(CublasLt, ProductsAreThoseOfTheCpu) {
  Context ctx = cpu_context();
  const int before = fake_cublaslt_counts().products;
  for (const DTypes dtypes : kDTypes) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        MatmulArgs args = make_args(ctx, dtypes, transpose_a, transpose_b);
        check_product(ctx, args);
        args.accumulate = true;
        check_product(ctx, args);
        if (dtypes.in == DType::f64) continue;
        args.accumulate = false;
        args.bias = make_tensor(ctx, {args.c.shape(1)}, dtypes.out,
                                representable("bias", args.c.shape(1), dtypes.out));
        check_product(ctx, args);
      }
    }
  }
  EXPECT_EQ(fake_cublaslt_counts().products - before, 4 * (3 * 3 + 2));
}

TEST(CublasLt, RoundsFactorsToTf32WhereAskedTo) {
  Context ctx = cpu_context();
  const MatmulArgs args = make_args(ctx, kDTypes[0], false, true);
  cublaslt_matmul(ctx, args, workspace_of(ctx));
  const Values exact = values_of(args.c);
  ctx.state<CublasLtOptions>().tf32 = true;
  cublaslt_matmul(ctx, args, workspace_of(ctx));
  EXPECT_FALSE(is_close(values_of(args.c), exact, {.absolute = 1e-5, .relative = 0}));
  EXPECT_TRUE(is_close(values_of(args.c), exact, {.absolute = 0.05, .relative = 0}));
}

// What a pool gives is aligned to 64 bytes at least; what more it has by chance changes nothing.
TEST(CublasLt, AlgorithmsDoNotDependOnWhereTensorsLie) {
  Context ctx = cpu_context();
  const Tensor workspace = workspace_of(ctx);
  const int before = fake_cublaslt_counts().algorithms;
  std::deque<Tensor> others;
  for (int i = 0; i < 8; ++i) {
    const auto zeros = [&] { return ctx.zeros({4, 4}, DType::f32); };
    others.push_back(zeros());
    cublaslt_matmul(ctx, {.a = others.back(), .b = others.back(), .c = zeros(), .bias = {}},
                    workspace);
  }
  EXPECT_EQ(fake_cublaslt_counts().algorithms - before, 1);
  const Tensor odd = ctx.zeros({4 * 4 + 1}, DType::f32).slice(0, 1, 17).view({4, 4});
  cublaslt_matmul(ctx, {.a = odd, .b = odd, .c = odd, .bias = {}}, workspace);
  EXPECT_EQ(fake_cublaslt_counts().algorithms - before, 2);
}

TEST(CublasLt, KeepsAFewThousandPlans) {
  constexpr int kProducts = 5000, kObjectsOfPlan = 4;
  const int before = fake_cublaslt_counts().objects;
  {
    Context ctx = cpu_context();
    const Tensor workspace = workspace_of(ctx), x = ctx.zeros({1, kProducts}, DType::f32);
    for (int64_t n = 1; n <= kProducts; ++n) {
      cublaslt_matmul(
          ctx, {.a = x.slice(1, 0, 1), .b = x.slice(1, 0, n), .c = x.slice(1, 0, n), .bias = {}},
          workspace);
      ASSERT_LE(fake_cublaslt_counts().objects - before, 4096 * kObjectsOfPlan + 1);
    }
  }
  EXPECT_EQ(fake_cublaslt_counts().objects, before);
}

TEST(CublasLt, SaysWhatItHasNoAlgorithmFor) {
  Context ctx = cpu_context();
  MatmulArgs args = make_args(ctx, kDTypes[3], false, true);
  args.bias = ctx.zeros({9}, DType::f64);
  EXPECT_TRUE(fails_with([&] { cublaslt_matmul(ctx, args, workspace_of(ctx)); },
                         "matmul: cuBLASLt has no algorithm for f64 to f64, 13 x 17 x 9 with rows "
                         "22, 22 and 14 apart: not supported"));
}

}  // namespace
}  // namespace tessera::test
