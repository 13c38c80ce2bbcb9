// Rows that begin more than 2^31 elements into a tensor. Its memory, 8 GiB, is reserved, but little
// of it is touched; where it cannot be reserved the tests are skipped.
#include <numeric>
#include <optional>

#include "core/transfer.h"
#include "kernels/attention/kernel.h"
#include "kernels/cross_entropy/kernel.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/embedding/kernel.h"
#include "kernels/linear/kernel.h"
#include "kernels/rope/kernel.h"
#include "kernels/rope/table.h"
#include "tests/kernels/op_case.h"
#include "tests/support/compare.h"

namespace tessera::test {
namespace {

constexpr int64_t kStride = (int64_t{1} << 31) + 64;

class LargeOffsetsOn : public DeviceTest {
 protected:
  // bf16 [rows, columns], unlike in other tests not filled with NaN.
  Tensor reserve(const Shape& shape) {
    try {
      return ctx().empty(shape, DType::bf16);
    } catch (const OutOfMemory&) {
      return {};
    }
  }
  Tensor tensor(const Shape& shape, const Vec& values) {
    return make_tensor(ctx(), shape, DType::bf16, values);
  }

  void SetUp() override {
    DeviceTest::SetUp();
    if (!IsSkipped()) {
      context_.emplace(
          ContextOptions{.device = GetParam(), .threads = 2, .isa = machine_isas().back()});
    }
  }
  Context& ctx() { return *context_; }

 private:
  std::optional<Context> context_;
};
INSTANTIATE_TEST_SUITE_P(Devices, LargeOffsetsOn, ::testing::ValuesIn(built_devices()),
                         device_name);

TEST_P(LargeOffsetsOn, ConvertAndCrossEntropy) {
  const Tensor memory = reserve({2, kStride});
  if (!memory.defined()) GTEST_SKIP() << "8 GiB cannot be reserved";
  const Vec values = representable("x", 2 * 100, DType::bf16);
  const Tensor rows = memory.slice(1, 0, 100), near = tensor({2, 100}, values);
  convert(ctx(), rows, near);
  const Tensor back = ctx().empty({2, 100}, DType::f32);
  convert(ctx(), back, rows);
  EXPECT_EQ(values_of(back).data, values);
  Tensor losses[2];
  for (const Tensor& logits : {rows, near}) {
    Tensor& result = losses[logits.storage() == near.storage()];
    result = ctx().empty({2}, DType::f32);
    cross_entropy_rows(ctx(), {.logits = logits,
                               .targets = make_tokens(ctx(), {7, 99}),
                               .losses = result,
                               .dlogits = logits});
  }
  EXPECT_TRUE(is_bitwise_equal(losses[0], losses[1]));
  convert(ctx(), back, rows);
  EXPECT_EQ(values_of(back).data, values_of(near).data);
}

TEST_P(LargeOffsetsOn, Rope) {
  const Tensor memory = reserve({2, kStride});
  if (!memory.defined()) GTEST_SKIP() << "8 GiB cannot be reserved";
  const Tensor rows = memory.slice(1, 0, 32);
  const Tensor near = tensor({2, 32}, representable("x", 2 * 32, DType::bf16));
  convert(ctx(), rows, near);
  const RopeTable table = rope_table(ctx(), {}, 10, 16);
  for (const Tensor& x : {memory, near}) {
    rope_rotate(ctx(), {.x = x,
                        .y = x,
                        .positions = make_tokens(ctx(), {3, 9}),
                        .cos = table.cos,
                        .sin = table.sin,
                        .heads = 2,
                        .head_dim = 16,
                        .inverse = false});
  }
  const Tensor back = ctx().empty({2, 32}, DType::bf16);
  convert(ctx(), back, rows);
  EXPECT_TRUE(is_bitwise_equal(back, near));
}

TEST_P(LargeOffsetsOn, EmbeddingForward) {
  const int64_t vocabulary = 600000, d = 4096;
  const Tensor table = reserve({vocabulary, d});
  if (!table.defined()) GTEST_SKIP() << "5 GiB cannot be reserved";
  Vec row(d);
  std::iota(row.begin(), row.end(), 0.0);
  for (double& x : row) x = double(int(x) % 200);
  convert(ctx(), table.slice(0, vocabulary - 1, vocabulary), tensor({1, d}, row));
  const Tensor y = ctx().empty({1, d}, DType::bf16);
  embedding_forward(
      ctx(), {.tokens = make_tokens(ctx(), {int32_t(vocabulary - 1)}), .table = table, .y = y});
  EXPECT_EQ(values_of(y).data, row);
}

// Queries, keys, values, outputs and their gradients [tokens, 1, 64], side by side in the rows of
// `memory`.
struct AttentionParts {
  Tensor q, k, v, d_o, o, dq, dk, dv;

  explicit AttentionParts(const Tensor& memory) {
    int64_t column = 0;
    for (Tensor* x : {&q, &k, &v, &d_o, &o, &dq, &dk, &dv}) {
      *x = memory.slice(1, column, column + 64).unflatten(1, 1, 64);
      column += 64;
    }
  }
};

void attend(Context& ctx, const AttentionParts& x, AttentionBackend backend) {
  const int64_t tokens = x.q.shape(0);
  const Segments segments{int_tensor(ctx, std::array{0, int32_t(tokens)}), tokens};
  const Tensor lse = ctx.empty({1, tokens}, DType::f32);
  const Tensor probabilities = ctx.empty({1, tokens, tokens}, DType::bf16);
  attention_forward(ctx, {.q = x.q,
                          .k = x.k,
                          .v = x.v,
                          .query_segments = segments,
                          .key_segments = segments,
                          .options = {.backend = backend},
                          .o = x.o,
                          .lse = lse,
                          .probabilities = probabilities});
  attention_backward(ctx, {.q = x.q,
                           .k = x.k,
                           .v = x.v,
                           .o = x.o,
                           .lse = lse,
                           .probabilities = probabilities,
                           .d_o = x.d_o,
                           .query_segments = segments,
                           .key_segments = segments,
                           .options = {.backend = backend},
                           .dq = x.dq,
                           .dk = x.dk,
                           .dv = x.dv});
}

TEST_P(LargeOffsetsOn, Attention) {
  constexpr int64_t kTokens = 2, kParts = 8 * 64;
  const Vec values = representable("x", kTokens * kParts, DType::bf16);
  for (const AttentionBackend backend : {AttentionBackend::flash, AttentionBackend::standard}) {
    const Tensor memory = reserve({kTokens, kStride});
    if (!memory.defined()) GTEST_SKIP() << "8 GiB cannot be reserved";
    const Tensor far = memory.slice(1, 0, kParts), near = tensor({kTokens, kParts}, values);
    convert(ctx(), far, near);
    attend(ctx(), AttentionParts(far), backend);
    attend(ctx(), AttentionParts(near), backend);
    const Tensor back = ctx().empty({kTokens, kParts}, DType::bf16);
    convert(ctx(), back, far);
    EXPECT_TRUE(is_bitwise_equal(back, near));
    EXPECT_NE(values_of(near).data, values);
  }
}

TEST_P(LargeOffsetsOn, Products) {
  const Tensor memory = reserve({2, kStride});
  if (!memory.defined()) GTEST_SKIP() << "8 GiB cannot be reserved";
  const Tensor far = memory.slice(1, 0, 64), result = memory.slice(1, 64, 128);
  const Tensor near = tensor({2, 64}, representable("a", 2 * 64, DType::bf16));
  const Tensor b = tensor({64, 64}, representable("b", 64 * 64, DType::bf16));
  convert(ctx(), far, near);
  matmul(ctx(), {.a = far, .b = b, .c = result});
  const Tensor c = tensor({2, 64}, Vec(2 * 64)), back = tensor({2, 64}, Vec(2 * 64));
  matmul(ctx(), {.a = near, .b = b, .c = c});
  convert(ctx(), back, result);
  EXPECT_TRUE(is_bitwise_equal(back, c));
}

}  // namespace
}  // namespace tessera::test
