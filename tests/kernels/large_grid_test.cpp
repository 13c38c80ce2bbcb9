// Kernels over more than 2^31 contiguous elements, of whose grids the emulator runs the first and
// last blocks. The memory, up to 16 GiB a test, is reserved, but little of it is touched; where it
// cannot be reserved the tests are skipped. Rows that lie far apart: large_offset_test.cpp. The
// workspace of split keys stays below 2^28 elements, since only few queries are split.
#include "core/transfer.h"
#include "kernels/adamw/kernel.h"
#include "kernels/attention/gpu_softmax.h"
#include "kernels/attention/kernel.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/embedding/kernel.h"
#include "kernels/launch/simt/emulator.h"
#include "kernels/reduce/kernel.h"
#include "kernels/swiglu/kernel.h"
#include "tests/kernels/op_case.h"
#include "tests/support/compare.h"

namespace tessera::test {
namespace {

constexpr int64_t kLarge = int64_t{1} << 31;

class LargeGrids : public ::testing::Test {
 protected:
  // Unlike in other tests not filled with NaN.
  Tensor reserve(const Shape& shape, DType dtype) {
    try {
      return ctx_.empty(shape, dtype);
    } catch (const OutOfMemory&) {
      return {};
    }
  }
  Tensor tensor(const Shape& shape, DType dtype, const char* name) {
    return make_tensor(ctx_, shape, dtype, representable(name, shape.elements(), dtype));
  }
  static Tensor last_of(const Tensor& x, int64_t count = 1) {
    return x.slice(0, x.shape(0) - count, x.shape(0));
  }
  void copy(const Tensor& to, const Tensor& from) { convert(ctx_, to, from); }
  Tensor copy_of(const Tensor& x) {
    const Tensor copied = ctx_.empty(x.shape(), x.dtype());
    copy(copied, x);
    return copied;
  }

  template <class Body>
  void run_ends(int blocks, const Body& body) {
    auto& options = ctx_.state<simt::Emulator>().options();
    options.ends = blocks;
    body();
    options.ends = 0;
  }

  Context ctx_{{.device = Device::simt, .threads = 2}};
};

TEST_F(LargeGrids, Swiglu) {
  constexpr int64_t kWidth = 2048, kRows = kLarge / kWidth + 5;
  const Tensor gate_up = reserve({kRows, 2 * kWidth}, DType::bf16);
  const Tensor y = reserve({kRows, kWidth}, DType::bf16);
  if (!gate_up.defined() || !y.defined()) GTEST_SKIP() << "12 GiB cannot be reserved";
  const Tensor near = tensor({1, 2 * kWidth}, DType::bf16, "x");
  const Tensor near_y = ctx_.empty({1, kWidth}, DType::bf16);
  copy(last_of(gate_up), near);
  const auto run = [&](const Tensor& x, const Tensor& result) {
    swiglu_forward(ctx_, {.gate_up = x, .y = result});
    swiglu_backward(ctx_, {.gate_up = x, .dy = result, .dgate_up = x, .y = result});
  };
  run_ends(2, [&] { run(gate_up, y); });
  run(near, near_y);
  EXPECT_TRUE(is_bitwise_equal(copy_of(last_of(y)), near_y));
  EXPECT_TRUE(is_bitwise_equal(copy_of(last_of(gate_up)), near));
}

// The last token of a large vocabulary, in the last row of many that have none.
TEST_F(LargeGrids, EmbeddingBackward) {
  constexpr int64_t kWidth = 1024, kRows = kLarge / kWidth + 5;
  const Tensor dtable = reserve({kRows, kWidth}, DType::f32);
  const Tensor dy = reserve({kRows, kWidth}, DType::bf16);
  if (!dtable.defined() || !dy.defined()) GTEST_SKIP() << "12 GiB cannot be reserved";
  std::vector<int32_t> tokens(size_t(kRows), -1);
  tokens.back() = int32_t(kRows - 1);
  const Tensor near = tensor({1, kWidth}, DType::bf16, "dy");
  copy(last_of(dy), near);
  run_ends(2, [&] {
    embedding_backward(
        ctx_,
        {.tokens = make_tokens(ctx_, tokens), .dy = dy, .dtable = dtable, .accumulate = false});
  });
  EXPECT_EQ(values_of(copy_of(last_of(dtable))).data, values_of(near).data);
}

TEST_F(LargeGrids, Elementwise) {
  const Tensor x = reserve({kLarge + 1001}, DType::bf16);
  const Tensor y = reserve({kLarge + 1001}, DType::f32);
  if (!x.defined() || !y.defined()) GTEST_SKIP() << "12 GiB cannot be reserved";
  const Tensor near = tensor({100}, DType::bf16, "x");
  copy(last_of(x, 100), near);
  run_ends(2, [&] {
    scale(ctx_, x, 2);
    add_into(ctx_, x, x);
    convert(ctx_, y, x);
    EXPECT_TRUE(all_finite(ctx_, x));
  });
  Vec expected = values_of(near).data;
  for (double& value : expected) value *= 4;
  EXPECT_EQ(values_of(copy_of(last_of(y, 100))).data, expected);
}

TEST_F(LargeGrids, SumOfSquares) {
  const Tensor x = reserve({kLarge + 1001}, DType::bf16);
  if (!x.defined()) GTEST_SKIP() << "4 GiB cannot be reserved";
  const Tensor near = tensor({100}, DType::bf16, "x");
  copy(last_of(x, 100), near);
  double expected = 0, actual = 0;
  for (const double value : values_of(near).data) expected += value * value;
  run_ends(2, [&] { actual = sum_of_squares(ctx_, std::span(&x, 1)); });
  EXPECT_NEAR(actual, expected, 1e-9 * expected);
}

TEST_F(LargeGrids, AdamW) {
  const Shape shape{kLarge + 1001}, near_shape{100};
  AdamWTensor far{}, near{};
  for (Tensor AdamWTensor::*x :
       {&AdamWTensor::param, &AdamWTensor::grad, &AdamWTensor::m, &AdamWTensor::v}) {
    far.*x = reserve(shape, x == &AdamWTensor::param ? DType::bf16 : DType::f32);
    if (!(far.*x).defined()) GTEST_SKIP() << "28 GiB cannot be reserved";
    near.*x = make_tensor(ctx_, near_shape, (far.*x).dtype(), Vec(100, 0.5));
    copy(last_of(far.*x, 100), near.*x);
  }
  run_ends(2, [&] { adamw_step(ctx_, {.tensors = std::span(&far, 1), .lr = 0.01}); });
  adamw_step(ctx_, {.tensors = std::span(&near, 1), .lr = 0.01});
  EXPECT_TRUE(is_bitwise_equal(copy_of(last_of(far.m, 100)), near.m));
  EXPECT_TRUE(is_bitwise_equal(copy_of(last_of(far.v, 100)), near.v));
  // Rounded at random, by the element's number.
  for (const double value : values_of(copy_of(last_of(far.param, 100))).data)
    EXPECT_NEAR(value, 0.49, 0.01);
}

// With causality the last of many queries alone sees the only key; its dq is summed in a workspace
// of more than 2^31 elements.
TEST_F(LargeGrids, AttentionSumsOfDq) {
  constexpr int64_t kHeads = 16, D = 128, kTokens = kLarge / (kHeads * D) + 5;
  const Shape near_shape{1, kHeads, D};
  const auto gradients = [&](const Tensor& q, const Tensor& dq) {
    const int64_t tokens = q.shape(0);
    const auto segments = [&](int64_t n) {
      return Segments{int_tensor(ctx_, std::array{0, int32_t(n)}), n};
    };
    const Tensor keys = tensor({1, 1, D}, DType::bf16, "k");
    const Tensor lse = ctx_.zeros({kHeads, tokens}, DType::f32);
    attention_backward(ctx_, {.q = q,
                              .k = keys,
                              .v = tensor({1, 1, D}, DType::bf16, "v"),
                              .o = q,
                              .lse = lse,
                              .d_o = q,
                              .query_segments = segments(tokens),
                              .key_segments = segments(1),
                              .options = {.causal = true, .deterministic = false},
                              .dq = dq,
                              .dk = copy_of(keys),
                              .dv = copy_of(keys)});
  };
  const Tensor far = reserve({kTokens, kHeads, D}, DType::bf16);
  const Tensor far_dq = reserve({kTokens, kHeads, D}, DType::bf16);
  const bool has_workspace = reserve({kTokens * kHeads * (D + 2)}, DType::f32).defined();
  if (!far.defined() || !far_dq.defined() || !has_workspace)
    GTEST_SKIP() << "17 GiB cannot be reserved";
  const Tensor near = tensor(near_shape, DType::bf16, "q");
  const Tensor near_dq = ctx_.empty(near_shape, DType::bf16);
  copy(last_of(far), near);
  gradients(near, near_dq);
  run_ends(8, [&] { gradients(far, far_dq); });
  EXPECT_EQ(values_of(copy_of(last_of(far_dq))).data, values_of(near_dq).data);
}

// The second of two rows of standard attention's scores and probabilities.
TEST_F(LargeGrids, Softmax) {
  constexpr int64_t kStride = kLarge + 64, kKeys = 64;
  const Tensor products = reserve({kStride + kKeys}, DType::f32);
  const Tensor p = reserve({kStride + kKeys}, DType::bf16);
  if (!products.defined() || !p.defined()) GTEST_SKIP() << "12 GiB cannot be reserved";
  const Tensor near = tensor({kKeys}, DType::f32, "s"), near_p = ctx_.empty({kKeys}, DType::bf16);
  copy(last_of(products, kKeys), near);
  const auto softmax = [&](int64_t queries, const Tensor& scores, const Tensor& probabilities) {
    const SoftmaxRows<bf16> rows{.queries = queries,
                                 .keys = kKeys,
                                 .stride = kStride,
                                 .left = kKeys,
                                 .right = kKeys,
                                 .outer = 1,
                                 .scale = 1,
                                 .random = Philox(0, 0, 0),
                                 .products = scores.data<float>(),
                                 .probabilities = probabilities.data<bf16>()};
    softmax_gpu<Device::simt, bf16>().forward(ctx_, rows, nullptr);
  };
  softmax(2, products, p);
  softmax(1, near, near_p);
  EXPECT_TRUE(is_bitwise_equal(copy_of(last_of(p, kKeys)), near_p));
}

}  // namespace
}  // namespace tessera::test
