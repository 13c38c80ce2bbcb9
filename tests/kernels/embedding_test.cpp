#include "kernels/embedding/op.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise/op.h"
#include "kernels/embedding/kernel.h"
#include "tests/kernels/device_case.h"
#include "tests/support/compare.h"
#include "tests/support/gradcheck.h"
#include "tests/support/reference_ops.h"

namespace tessera::test {
namespace {

// Some tokens often, some never.
std::vector<int32_t> some_tokens(int64_t n, int64_t vocabulary) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) tokens.push_back(int32_t(i * i % 101 % vocabulary));
  return tokens;
}

void check_case(Context& ctx, DType dtype, int64_t n, int64_t vocabulary, int64_t d) {
  SCOPED_TRACE(fmt::format("{} n {} V {} d {}", name_of(dtype), n, vocabulary, d));
  const std::vector<int32_t> ids = some_tokens(n, vocabulary);
  const Tensor tokens = make_tokens(ctx, ids), y = ctx.empty({n, d}, dtype);
  const Vec table = representable("table", vocabulary * d, dtype);
  embedding_forward(
      ctx, {.tokens = tokens, .table = make_tensor(ctx, {vocabulary, d}, dtype, table), .y = y});
  EXPECT_TRUE(is_close(values_of(y),
                       expected({n, d}, dtype, reference::embedding_forward(table, ids, d)), {}));

  const Vec dy = representable("dy", n * d, dtype);
  const Vec want = reference::embedding_backward(dy, ids, vocabulary);
  // A row sums at most n numbers below 6.
  const Tolerance tolerance{.absolute = double(n) * 6 * unit_roundoff(wide(dtype)),
                            .relative = double(n) * unit_roundoff(wide(dtype))};
  const Vec before = representable("before", vocabulary * d, wide(dtype));
  for (const bool accumulate : {false, true}) {
    const Tensor dtable = accumulate ? make_tensor(ctx, {vocabulary, d}, wide(dtype), before)
                                     : ctx.empty({vocabulary, d}, wide(dtype));
    embedding_backward(ctx, {.tokens = tokens,
                             .dy = make_tensor(ctx, {n, d}, dtype, dy),
                             .dtable = dtable,
                             .accumulate = accumulate});
    EXPECT_TRUE(is_close(
        values_of(dtable),
        expected({vocabulary, d}, wide(dtype), accumulate ? reference::add(want, before) : want),
        tolerance));
  }
}

class EmbeddingOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, EmbeddingOn, ::testing::ValuesIn(built_devices()), device_name);

TEST_P(EmbeddingOn, MatchesTheReference) {
  on_all_levels(GetParam(), [](Context& ctx) {
    for (const DType dtype : kComputeTypes) {
      for (const int64_t d : {1, 31, 33, 127, 128}) check_case(ctx, dtype, 333, 50, d);
      check_case(ctx, dtype, 4099, 200, 40);
      check_case(ctx, dtype, 2, 3, 4099);
      check_case(ctx, dtype, 3, 5, 8200);
      check_case(ctx, dtype, 1, 1, 1);
    }
  });
}

Tensor gradient_of(Context& ctx, DType dtype) {
  const Tensor dtable = make_tensor(ctx, {50, 127}, wide(dtype), Vec(50 * 127, 0.75));
  embedding_backward(
      ctx, {.tokens = make_tokens(ctx, some_tokens(2000, 50)),
            .dy = make_tensor(ctx, {2000, 127}, dtype, representable("dy", 254000, dtype)),
            .dtable = dtable,
            .accumulate = true});
  return dtable;
}

// Every device adds in the order of the tokens.
TEST_P(EmbeddingOn, GradientIsReproducibleAndTheCpus) {
  for (const DType dtype : kComputeTypes) {
    EXPECT_TRUE(is_reproducible(GetParam(), [dtype](Context& ctx) {
      return std::vector<Tensor>{gradient_of(ctx, dtype)};
    }));
    Context ctx = context(), cpu = cpu_context();
    EXPECT_TRUE(is_bitwise_equal(gradient_of(ctx, dtype), gradient_of(cpu, dtype)));
  }
}

TEST_P(EmbeddingOn, TakesUnalignedMemory) {
  Context ctx = context();
  const std::vector<int32_t> ids = some_tokens(9, 5);
  const Tensor tokens = make_tokens(ctx, ids);
  for (const DType dtype : kComputeTypes) {
    const Vec table = representable("table", 5 * 16, dtype);
    const Tensor y = make_unaligned(ctx, {9, 16}, dtype, Vec(9 * 16));
    embedding_forward(
        ctx, {.tokens = tokens, .table = make_unaligned(ctx, {5, 16}, dtype, table), .y = y});
    EXPECT_EQ(values_of(y).data, reference::embedding_forward(table, ids, 16));
    const Tensor dtable = make_unaligned(ctx, {5, 16}, wide(dtype), Vec(5 * 16));
    const Tensor aligned = ctx.empty({5, 16}, wide(dtype));
    const Tensor dy = make_tensor(ctx, {9, 16}, dtype, values_of(y).data);
    embedding_backward(ctx, {.tokens = tokens, .dy = y, .dtable = dtable, .accumulate = false});
    embedding_backward(ctx, {.tokens = tokens, .dy = dy, .dtable = aligned, .accumulate = false});
    EXPECT_TRUE(is_bitwise_equal(dtable, aligned));
  }
}

// The host cannot look at a GPU's tokens.
TEST_P(EmbeddingOn, TokensOutsideTheVocabularyGiveNaNOnAGpu) {
  if (GetParam() == Device::cpu) return;
  Context ctx = context();
  for (const DType dtype : kComputeTypes) {
    for (const int64_t d : {3, 16}) {
      const Tensor tokens = make_tokens(ctx, {5, 1, -1}), y = ctx.empty({3, d}, dtype);
      embedding_forward(
          ctx, {.tokens = tokens, .table = make_tensor(ctx, {5, d}, dtype, Vec(5 * d, 2)), .y = y});
      const Vec values = values_of(y).data;
      for (int64_t i = 0; i < 3 * d; ++i) EXPECT_EQ(std::isnan(values[i]), i / d != 1);
      const Tensor dtable = ctx.empty({5, d}, wide(dtype));
      embedding_backward(ctx, {.tokens = tokens, .dy = y, .dtable = dtable, .accumulate = false});
      Vec want(5 * d);
      std::fill_n(want.begin() + d, d, 2);
      EXPECT_EQ(values_of(dtable).data, want);
    }
  }
}

TEST_P(EmbeddingOn, GradientsInDouble) {
  Context ctx = context(1);
  const Tensor table = make_tensor(ctx, {5, 7}, DType::f64, reference::random_values("t", 35));
  const Tensor tokens = make_tokens(ctx, {4, 0, 4, 2});
  const auto twice = [&](Context& c, const std::vector<Var>& in) {  // the second use accumulates
    return add(c, embedding(c, tokens, in[0]), embedding(c, make_tokens(c, {1, 4, 4, 3}), in[0]));
  };
  EXPECT_TRUE(gradcheck_op(ctx, twice, {table}, add_into));
}

TEST_P(EmbeddingOn, Bf16TableHasAnF32Gradient) {
  Context ctx = context();
  const Var table = make_parameter("table", ctx.zeros({5, 7}, DType::bf16));
  const Var y = embedding(ctx, make_tokens(ctx, {4, 0, 4}), table);
  backward(ctx, std::span(&y, 1), {make_tensor(ctx, {3, 7}, DType::bf16, Vec(21, 1))}, add_into);
  EXPECT_EQ(leaf_of(table).grad().dtype(), DType::f32);
  EXPECT_EQ(values_of(leaf_of(table).grad()).data[4 * 7], 2);
}

TEST(Embedding, BadInputIsNamed) {
  Context ctx = cpu_context();
  const Var table(ctx.zeros({50, 4}, DType::f32));
  EXPECT_TRUE(fails_with(
      [&] {
        embedding(ctx, make_tokens(ctx, {0, 49, 50}), table);
      },
      "embedding: token 50 at position 2 is outside the vocabulary of 50"));
  EXPECT_TRUE(fails_with([&] { embedding(ctx, make_tokens(ctx, {-7}), table); },
                         "embedding: token -7 at position 0 is outside the vocabulary of 50"));
  EXPECT_TRUE(fails_with([&] { embedding(ctx, ctx.zeros({3}, DType::f32), table); },
                         "embedding: tokens must be a contiguous i32 [N], not f32 of shape [3]"));
  EXPECT_TRUE(
      fails_with([&] { embedding(ctx, make_tokens(ctx, {1}), Var(ctx.zeros({8}, DType::f32))); },
                 "embedding: the table of shape [8] and strides [1] is not a contiguous matrix"));
}

TEST(Embedding, PlansItsMemory) {
  EXPECT_TRUE(plans_its_memory([](Context& ctx) {
    const Var table = make_parameter("table", ctx.zeros({50, 33}, DType::f32));
    const Tensor tokens = make_tokens(ctx, std::vector<int32_t>(65, 3));
    return add(ctx, embedding(ctx, tokens, table), embedding(ctx, tokens, table));
  }));
}

}  // namespace
}  // namespace tessera::test
