#include "kernels/attention/op.h"

#include "kernels/elementwise/op.h"
#include "kernels/launch/cpu/isa.h"
#include "tests/kernels/attention_case.h"
#include "tests/kernels/op_case.h"
#include "tests/support/compare.h"
#include "tests/support/gradcheck.h"

namespace tessera::test {
namespace {

constexpr AttentionBackend kBackends[] = {AttentionBackend::flash, AttentionBackend::standard};

std::string name_of(AttentionBackend backend) {
  return backend == AttentionBackend::flash ? "flash" : "standard";
}

Segments make_segments(Context& ctx, const std::vector<int32_t>& offsets, int64_t longest,
                       bool documents = false) {
  return {make_tokens(ctx, offsets), longest, documents};
}
Segments query_segments(Context& ctx, const AttentionCase& c) {
  return make_segments(ctx, query_offsets(c), make_problem(c, DType::f32).max_q, c.documents);
}
Segments key_segments(Context& ctx, const AttentionCase& c) {
  return make_segments(ctx, key_offsets(c), make_problem(c, DType::f32).max_k, c.documents);
}

AttentionOptions make_options(const AttentionCase& c, AttentionBackend backend) {
  return {.backend = backend,
          .causal = c.causal,
          .window_left = c.window_left,
          .window_right = c.window_right,
          .softcap = c.softcap,
          .dropout = c.dropout,
          .dropout_purpose = make_problem(c, DType::f32).purpose};
}

// A context whose seed and step are those of the cases' dropout masks.
Context case_context(Isa isa, int threads = 2) {
  const AttentionProblem p = make_problem({}, DType::f32);
  Context ctx({.threads = threads, .isa = isa, .seed = p.seed, .poison = true});
  ctx.set_step(p.step);
  return ctx;
}

Shape query_shape(const AttentionCase& c) {
  return {query_offsets(c).back(), c.q_heads, c.head_dim};
}
Shape key_shape(const AttentionCase& c) {
  return {key_offsets(c).back(), c.kv_heads, c.head_dim};
}

struct Results {
  Values o, dq, dk, dv;
  Values d_sink = {};  // with a sink only
};

Tensor slopes_of(Context& ctx, const AttentionCase& c) {
  return c.alibi ? make_tensor(ctx, {c.q_heads}, DType::f32, make_spec(c).alibi_slopes) : Tensor();
}

Results run(Context& ctx, const AttentionCase& c, const AttentionInputs& in, DType dtype,
            AttentionBackend backend) {
  const auto leaf = [&](const Shape& shape, const Vec& values) {
    auto node = std::make_shared<LeafNode>("input", shape, dtype, MemoryTag::activations);
    return Var(make_tensor(ctx, shape, dtype, values), Edge{node, 0});
  };
  const Var q = leaf(query_shape(c), in.q), k = leaf(key_shape(c), in.k),
            v = leaf(key_shape(c), in.v);
  AttentionTerms terms{.alibi_slopes = slopes_of(ctx, c)};
  if (c.sink) {
    const DType sums = dtype == DType::f64 ? DType::f64 : DType::f32;
    terms.sink = make_parameter("sink", make_tensor(ctx, {c.q_heads}, sums, make_spec(c).sink));
  }
  const Var o = attention(ctx, q, k, v, query_segments(ctx, c), key_segments(ctx, c),
                          make_options(c, backend), terms);
  ctx.set_step(ctx.step() + 1);  // backward must draw what forward drew
  backward(ctx, std::span(&o, 1), {make_tensor(ctx, query_shape(c), dtype, in.d_o)}, add_into);
  ctx.set_step(ctx.step() - 1);
  return {values_of(o.value()), values_of(leaf_of(q).grad()), values_of(leaf_of(k).grad()),
          values_of(leaf_of(v).grad()), c.sink ? values_of(leaf_of(terms.sink).grad()) : Values()};
}

void expect_good(const char* what, const Values& actual, const Vec& exact, const Vec& low,
                 const AttentionCase& c) {
  if (actual.dtype == DType::f64) {
    EXPECT_TRUE(is_close(actual, expected(actual.shape, DType::f64, exact),
                         {.absolute = 1e-12 * c.q_factor * c.kv_factor, .relative = 1e-12}))
        << what;
    return;
  }
  // As for the kernels, see attention_cpu_test.cpp.
  const double factor = c.kv_factor > 1 ? 5 : c.softcap > 0 ? 3 : 2;
  const double reordered = 0x1p-21 * std::sqrt(c.head_dim) * c.q_factor * c.kv_factor;
  const auto& format = actual.dtype == DType::bf16 ? reference::kBF16 : reference::kF32;
  EXPECT_TRUE(is_as_good_as_formula(
      actual, exact, low,
      {.factor = factor, .quantum = reordered + rounding_quantum(format, exact)}))
      << what;
}

// f32, but the errors of the dtype's products go into it.
void expect_good_sink(const Values& actual, const Vec& exact, const Vec& low) {
  if (actual.dtype == DType::f64) {
    EXPECT_TRUE(is_close(actual, expected(actual.shape, DType::f64, exact),
                         {.absolute = 1e-12, .relative = 1e-12}));
    return;
  }
  EXPECT_TRUE(is_as_good_as_formula(
      actual, exact, low, {.factor = 3, .quantum = rounding_quantum(reference::kF32, exact)}));
}

class Attention : public ::testing::TestWithParam<AttentionCase> {};

TEST_P(Attention, IsAsGoodAsTheFormulaWithEitherBackend) {
  const AttentionCase& c = GetParam();
  for (const DType dtype : kComputeTypes) {
    AttentionInputs in = make_inputs(c, dtype);
    in.d_lse.clear();
    const AttentionAnswer exact = reference_answer(c, in, reference::Precision::exact);
    const auto precision =
        dtype == DType::bf16 ? reference::Precision::bf16 : reference::Precision::f32;
    const AttentionAnswer low = dtype == DType::f64 ? exact : reference_answer(c, in, precision);
    for (const AttentionBackend backend : kBackends) {
      SCOPED_TRACE(fmt::format("{} {}", dtype, name_of(backend)));
      Context ctx = case_context(best_isa());
      const Results r = run(ctx, c, in, dtype, backend);
      expect_good("o", r.o, exact.output.o, low.output.o, c);
      expect_good("dq", r.dq, exact.gradients.dq, low.gradients.dq, c);
      expect_good("dk", r.dk, exact.gradients.dk, low.gradients.dk, c);
      expect_good("dv", r.dv, exact.gradients.dv, low.gradients.dv, c);
      if (c.sink) expect_good_sink(r.d_sink, exact.gradients.d_sink, low.gradients.d_sink);
    }
  }
}

// Lengths that the naive reference computes in a moment.
std::vector<AttentionCase> short_cases() {
  std::vector<AttentionCase> cases;
  for (AttentionCase c : attention_cases()) {
    c.tail = 0;
    if (query_offsets(c).back() * key_offsets(c).back() < 70000) cases.push_back(c);
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Cases, Attention, ::testing::ValuesIn(short_cases()),
                         [](const auto& test) { return test.param.name; });

// The largest difference of two results, in units of the expected values' root mean square.
TEST(AttentionBackends, AgreeOnEveryLevel) {
  const AttentionCase c{.name = "agree",
                        .segments = {{70, 70}, {0, 0}, {131, 131}},
                        .q_heads = 4,
                        .kv_heads = 2,
                        .head_dim = 48,
                        .causal = true,
                        .window_left = 50,
                        .softcap = 10,
                        .dropout = 0.2};
  const AttentionInputs in = make_inputs(c, DType::f32);
  for (const Isa isa : machine_isas()) {
    for (const int threads : {1, 2, 5}) {
      Context ctx = case_context(isa, threads);
      const Results flash = run(ctx, c, in, DType::f32, AttentionBackend::flash);
      const Results standard = run(ctx, c, in, DType::f32, AttentionBackend::standard);
      EXPECT_TRUE(is_close_l2(standard.o, flash.o, 1e-6));
      EXPECT_TRUE(is_close_l2(standard.dq, flash.dq, 2e-6));
      EXPECT_TRUE(is_close_l2(standard.dk, flash.dk, 2e-6));
      EXPECT_TRUE(is_close_l2(standard.dv, flash.dv, 1e-6));
    }
  }
}

// [N, (Hq + 2 Hkv) D] from q, k and v.
Vec fuse(const AttentionCase& c, const Vec& q, const Vec& k, const Vec& v) {
  const int64_t rows = query_offsets(c).back(), q_width = c.q_heads * c.head_dim,
                k_width = c.kv_heads * c.head_dim, width = q_width + 2 * k_width;
  Vec qkv(size_t(rows * width));
  reference::put_columns(qkv, width, 0, q_width, q);
  reference::put_columns(qkv, width, q_width, q_width + k_width, k);
  reference::put_columns(qkv, width, q_width + k_width, width, v);
  return qkv;
}

TEST(SelfAttention, IsAttentionOfTheFusedParts) {
  const AttentionCase c{.name = "fused",
                        .segments = {{70, 70}, {131, 131}},
                        .q_heads = 4,
                        .kv_heads = 2,
                        .head_dim = 40,
                        .causal = true};
  const int64_t rows = query_offsets(c).back();
  for (const DType dtype : kComputeTypes) {
    for (const AttentionBackend backend : kBackends) {
      const AttentionInputs in = make_inputs(c, dtype);
      Context ctx = case_context(best_isa());
      const Results parts = run(ctx, c, in, dtype, backend);
      const Vec fused = fuse(c, in.q, in.k, in.v);
      const Shape shape{rows, int64_t(fused.size()) / rows};
      auto node = std::make_shared<LeafNode>("qkv", shape, dtype, MemoryTag::activations);
      const Var qkv(make_tensor(ctx, shape, dtype, fused), Edge{node, 0});
      const Var o = attention(ctx, qkv, query_segments(ctx, c), c.q_heads, c.kv_heads,
                              make_options(c, backend));
      const Shape o_shape{rows, c.q_heads * c.head_dim};
      backward(ctx, std::span(&o, 1), {make_tensor(ctx, o_shape, dtype, in.d_o)}, add_into);
      EXPECT_EQ(values_of(o.value()).data, parts.o.data);
      EXPECT_EQ(values_of(node->grad()).data, fuse(c, parts.dq.data, parts.dk.data, parts.dv.data));
    }
  }
}

TEST(AttentionGradient, MatchesDifferences) {
  const AttentionCase cases[] = {
      {.name = "gqa",
       .segments = {{5, 9}},
       .q_heads = 4,
       .kv_heads = 2,
       .head_dim = 5,
       .causal = true},
      {.name = "packed",
       .segments = {{3, 3}, {0, 0}, {6, 4}},
       .q_heads = 2,
       .kv_heads = 1,
       .head_dim = 3,
       .window_left = 2,
       .window_right = 1},
      {.name = "softcap", .segments = {{7, 7}}, .head_dim = 4, .causal = true, .softcap = 1.5},
      {.name = "dropout", .segments = {{6, 8}}, .head_dim = 4, .dropout = 0.4},
      {.name = "alibi_softcap",
       .segments = {{7, 9}},
       .q_heads = 2,
       .kv_heads = 1,
       .head_dim = 4,
       .causal = true,
       .softcap = 1.5,
       .alibi = true},
      {.name = "sink",
       .segments = {{5, 5}, {3, 0}, {4, 6}},
       .q_heads = 2,
       .kv_heads = 2,
       .head_dim = 3,
       .causal = true,
       .dropout = 0.3,
       .alibi = true,
       .sink = true},
  };
  for (const AttentionCase& c : cases) {
    for (const AttentionBackend backend : kBackends) {
      for (const Isa isa : machine_isas()) {
        SCOPED_TRACE(fmt::format("{} {} {}", c.name, name_of(backend), isa_name(isa)));
        Context ctx = case_context(isa);
        const AttentionInputs in = make_inputs(c, DType::f64);
        const Segments queries = query_segments(ctx, c), keys = key_segments(ctx, c);
        const Tensor slopes = slopes_of(ctx, c);
        const auto f = [&](Context& x, const std::vector<Var>& inputs) {
          const Var sink = inputs.size() > 3 ? inputs[3] : Var();
          return attention(x, inputs[0], inputs[1], inputs[2], queries, keys,
                           make_options(c, backend), {.alibi_slopes = slopes, .sink = sink});
        };
        std::vector<Tensor> inputs{make_tensor(ctx, query_shape(c), DType::f64, in.q),
                                   make_tensor(ctx, key_shape(c), DType::f64, in.k),
                                   make_tensor(ctx, key_shape(c), DType::f64, in.v)};
        if (c.sink) inputs.push_back(make_tensor(ctx, {c.q_heads}, DType::f64, make_spec(c).sink));
        EXPECT_TRUE(gradcheck_op(ctx, f, inputs, add_into));
      }
    }
  }
}

TEST(AttentionPlan, BooksTheSameMemoryWithoutData) {
  for (const AttentionBackend backend : kBackends) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      EXPECT_TRUE(plans_its_memory([&](Context& ctx) {
        const Shape shape{200, 8 * 16};
        auto node = std::make_shared<LeafNode>("qkv", shape, dtype, MemoryTag::activations);
        const Var qkv(ctx.zeros(shape, dtype), Edge{node, 0});
        const Segments segments = make_segments(ctx, {0, 30, 130, 200}, 128);
        const Tensor slopes = ctx.zeros({4}, DType::f32);
        const Var sink = make_parameter("sink", ctx.zeros({4}, DType::f32));
        const Var plain = attention(ctx, qkv, segments, 4, 2, {.backend = backend, .dropout = 0.1});
        return add(ctx, plain,
                   attention(ctx, qkv, segments, 4, 2, {.backend = backend},
                             {.alibi_slopes = slopes, .sink = sink}));
      })) << name_of(backend);
    }
  }
}

AttentionForwardArgs valid_args(Context& ctx) {
  const Segments segments = make_segments(ctx, {0, 4, 10}, 6);
  return {.q = ctx.zeros({10, 4, 8}, DType::f32),
          .k = ctx.zeros({10, 2, 8}, DType::f32),
          .v = ctx.zeros({10, 2, 8}, DType::f32),
          .query_segments = segments,
          .key_segments = segments,
          .options = {},
          .o = ctx.zeros({10, 4, 8}, DType::f32),
          .lse = ctx.zeros({4, 10}, DType::f32),
          .probabilities = {}};
}

TEST(AttentionCost, CountsVisiblePairs) {
  Context ctx = cpu_context();
  AttentionForwardArgs args = valid_args(ctx);
  // causal: 4 * 5 / 2 + 6 * 7 / 2 = 31 pairs; 4 D FLOPs a pair and head
  EXPECT_EQ(cost(args).flops, 31 * 4 * 8 * 4);
  args.options.window_left = 1;  // 7 + 11 pairs
  EXPECT_EQ(cost(args).flops, 18 * 4 * 8 * 4);
  args.options.causal = false;
  args.options.window_right = 0;
  EXPECT_EQ(cost(args).flops, 18 * 4 * 8 * 4);
}

TEST(AttentionErrors, NameTheRuleAndTheValues) {
  Context ctx = cpu_context();
  const auto error_of = [&](const std::function<void(AttentionForwardArgs&)>& break_it,
                            const std::string& message) {
    AttentionForwardArgs args = valid_args(ctx);
    break_it(args);
    return fails_with([&] { attention_forward(ctx, args); }, message);
  };
  EXPECT_TRUE(error_of(
      [&](auto& a) {
        a.k = ctx.zeros({10, 3, 8}, DType::f32);
      },
      "attention: 4 query heads cannot share 3 key heads; use a multiple"));
  EXPECT_TRUE(error_of(
      [&](auto& a) {
        a.v = ctx.zeros({10, 2, 8}, DType::bf16);
      },
      "attention: v is bf16 [10, 2, 8], expected f32 [N, 2, 8]"));
  EXPECT_TRUE(error_of(
      [&](auto& a) {
        a.key_segments = make_segments(ctx, {0, 6, 4}, 6);
      },
      "attention: key segment 1 begins at 6 and ends at 4; offsets must not "
      "decrease"));
  EXPECT_TRUE(error_of([&](auto& a) { a.query_segments.longest = 5; },
                       "attention: query segment 1 has 6 rows, more than the longest stated, 5"));
  EXPECT_TRUE(error_of(
      [&](auto& a) {
        a.query_segments = make_segments(ctx, {0, 4, 11}, 7);
      },
      "attention: query segments reach from 0 to 11; they must begin at 0 and "
      "end by 10"));
  EXPECT_TRUE(
      error_of([&](auto& a) { a.options.dropout = 1; }, "attention: dropout 1 is not in [0, 1)"));
  EXPECT_TRUE(error_of(
      [&](auto& a) {
        a.lse = ctx.zeros({10, 4}, DType::f32);
      },
      "attention: lse is f32 [10, 4], expected contiguous f32 [4, 10]"));
  EXPECT_TRUE(error_of(
      [&](auto& a) {
        a.o = ctx.zeros({9, 4, 8}, DType::f32);
      },
      "attention: o has 9 tokens, expected 10"));
}

}  // namespace
}  // namespace tessera::test
