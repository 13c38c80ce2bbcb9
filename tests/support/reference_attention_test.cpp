#include "tests/support/reference_attention.h"

#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/gradcheck.h"

namespace tessera::reference {
namespace {

struct Inputs {
  Vec q, k, v;
};

Inputs make_inputs(const AttentionSpec& s) {
  const int64_t kv = s.cu_k.back() * s.kv_heads * s.head_dim;
  return {.q = random_values("q", s.cu_q.back() * s.q_heads * s.head_dim),
          .k = random_values("k", kv),
          .v = random_values("v", kv)};
}

// Gradients of dot(d_o, o) + dot(d_lse, lse), with rows that see nothing left out of the second
// term.
void check_gradients(const AttentionSpec& s) {
  const Inputs in = make_inputs(s);
  const AttentionOutput out = attention_forward(s, in.q, in.k, in.v);
  const Vec d_o = random_values("d_o", int64_t(out.o.size()));
  Vec d_lse = random_values("d_lse", int64_t(out.lse.size()));
  const auto objective = [&](const Vec& q, const Vec& k, const Vec& v) {
    const AttentionOutput y = attention_forward(s, q, k, v);
    double sum = dot(d_o, y.o);
    for (size_t i = 0; i < y.lse.size(); ++i)
      if (std::isfinite(y.lse[i])) sum += d_lse[i] * y.lse[i];
    return sum;
  };
  const AttentionGradients g = attention_backward(s, in.q, in.k, in.v, d_o, d_lse);
  EXPECT_TRUE(test::gradcheck(
      "q", [&](const Vec& q) { return objective(q, in.k, in.v); }, in.q, g.dq));
  EXPECT_TRUE(test::gradcheck(
      "k", [&](const Vec& k) { return objective(in.q, k, in.v); }, in.k, g.dk));
  EXPECT_TRUE(test::gradcheck(
      "v", [&](const Vec& v) { return objective(in.q, in.k, v); }, in.v, g.dv));
}

TEST(ReferenceAttention, GradientsOfFullAttention) {
  check_gradients({.head_dim = 3, .cu_q = {0, 5}, .cu_k = {0, 7}, .scale = 0.7});
}

TEST(ReferenceAttention, GradientsOfPackedGroupedCausalWindow) {
  check_gradients({.q_heads = 4,
                   .kv_heads = 2,
                   .head_dim = 2,
                   .cu_q = {0, 5, 5, 9},
                   .cu_k = {0, 6, 8, 10},  // the last segment has rows that see no key
                   .causal = true,
                   .window_left = 2,
                   .scale = 0.7});
}

TEST(ReferenceAttention, GradientsWithSoftcapAndDropout) {
  check_gradients(
      {.q_heads = 2,
       .head_dim = 3,
       .cu_q = {0, 4},
       .cu_k = {0, 6},
       .window_left = 3,
       .window_right = 1,
       .scale = 1.5,
       .softcap = 2,
       .dropout = 0.3,
       .keep = [](int64_t head, int64_t q, int64_t k) { return (head + 3 * q + 2 * k) % 5 != 0; }});
}

// Which keys every query sees, found by giving one key at a time a huge value.
std::vector<std::string> visible(AttentionSpec s) {
  const int64_t queries = s.cu_q.back(), keys = s.cu_k.back();
  std::vector<std::string> rows(queries, std::string(keys, '.'));
  for (int64_t j = 0; j < keys; ++j) {
    Vec v(keys);
    v[j] = 1;
    const Vec o = attention_forward(s, Vec(queries), Vec(keys), v).o;
    for (int64_t i = 0; i < queries; ++i)
      if (o[i] > 0) rows[i][j] = 'x';
  }
  return rows;
}

using Rows = std::vector<std::string>;

TEST(ReferenceAttention, CausalIsBottomRight) {
  EXPECT_EQ(visible({.cu_q = {0, 2}, .cu_k = {0, 4}, .causal = true}), (Rows{"xxx.", "xxxx"}));
  EXPECT_EQ(visible({.cu_q = {0, 4}, .cu_k = {0, 2}, .causal = true}),
            (Rows{"..", "..", "x.", "xx"}));
}

TEST(ReferenceAttention, WindowCountsFromTheDiagonal) {
  EXPECT_EQ(visible({.cu_q = {0, 4}, .cu_k = {0, 4}, .window_left = 1, .window_right = 0}),
            (Rows{"x...", "xx..", ".xx.", "..xx"}));
  EXPECT_EQ(visible({.cu_q = {0, 2}, .cu_k = {0, 5}, .window_left = 0, .window_right = 1}),
            (Rows{"...xx", "....x"}));
  EXPECT_EQ(
      visible(
          {.cu_q = {0, 3}, .cu_k = {0, 3}, .causal = true, .window_left = 0, .window_right = 2}),
      (Rows{"x..", ".x.", "..x"}));
}

TEST(ReferenceAttention, SegmentsDoNotSeeEachOther) {
  EXPECT_EQ(visible({.cu_q = {0, 1, 3}, .cu_k = {0, 2, 4}}), (Rows{"xx..", "..xx", "..xx"}));
}

TEST(ReferenceAttention, MaskedRowsGiveZeros) {
  const AttentionSpec s{.cu_q = {0, 2}, .cu_k = {0, 1}, .causal = true};
  const AttentionOutput out = attention_forward(s, {1, 2}, {3}, {4});
  EXPECT_EQ(out.o, (Vec{0, 4}));
  EXPECT_EQ(out.lse, (Vec{-INFINITY, 6}));
  const AttentionGradients g = attention_backward(s, {1, 2}, {3}, {4}, {5, 6}, {7, 8});
  EXPECT_EQ(g.dq, (Vec{0, 24}));  // dlse * k
  EXPECT_EQ(g.dk, (Vec{16}));
  EXPECT_EQ(g.dv, (Vec{6}));
}

TEST(ReferenceAttention, LowPrecisionErrsByItsFormat) {
  const AttentionSpec s{
      .q_heads = 2, .head_dim = 16, .cu_q = {0, 32}, .cu_k = {0, 32}, .scale = 0.25};
  const Inputs in = make_inputs(s);
  const auto error = [&](Precision precision) {
    return test::measure(attention_forward(s, in.q, in.k, in.v, precision).o,
                         attention_forward(s, in.q, in.k, in.v).o)
        .relative_l2;
  };
  EXPECT_EQ(error(Precision::exact), 0);
  EXPECT_NEAR(std::log2(error(Precision::f32)), -23, 2);
  EXPECT_NEAR(std::log2(error(Precision::f16)), -11, 2);
  EXPECT_NEAR(std::log2(error(Precision::bf16)), -8, 2);
}

}  // namespace
}  // namespace tessera::reference
