#include "core/autograd/engine.h"

#include <gtest/gtest.h>

#include "tests/core/autograd/toy_ops.h"
#include "tests/support/gradcheck.h"

namespace tessera {
namespace {

using namespace toy;
using Numbers = std::vector<double>;

class EngineTest : public ::testing::Test {
 protected:
  Var parameter(std::string name, const Numbers& values) {
    return make_parameter(std::move(name), make_tensor(ctx_, values));
  }
  // What noise() in the scope multiplies its first element by.
  double factor(std::string_view scope) const {
    return Philox(ctx_.seed(), purpose_id(scope), ctx_.step()).uniform(0);
  }
  Context ctx_{ContextOptions{.poison = true}};
};

TEST_F(EngineTest, ChainRule) {
  const Var a = parameter("a", {2, 3}), b = parameter("b", {5, 7});
  backward_ones(ctx_, multiply(ctx_, multiply(ctx_, a, b), b));
  EXPECT_EQ(grad_of(a), (Numbers{25, 49}));
  EXPECT_EQ(grad_of(b), (Numbers{20, 42}));
}

TEST_F(EngineTest, DiamondVisitsTheSharedNodeOnceAfterBothConsumers) {
  Names log;
  const Var x = parameter("x", {3});
  const Var shared = noise(ctx_, x, "shared", &log);
  const Var left = noise(ctx_, shared, "left", &log), right = noise(ctx_, shared, "right", &log);
  backward_ones(ctx_, add(ctx_, left, right));
  ASSERT_EQ(log.size(), 3u);
  EXPECT_EQ(log.back(), "shared");
  EXPECT_EQ(grad_of(x), (Numbers{(factor("left") + factor("right")) * factor("shared")}));
}

// A long and a short path to the same node: by depth, not by order of discovery.
TEST_F(EngineTest, UnevenDiamond) {
  const Var x = parameter("x", {2});
  const Var y = multiply(ctx_, x, x);
  Var long_path = y;
  for (int i = 0; i < 3; ++i) long_path = multiply(ctx_, long_path, x);
  backward_ones(ctx_, add(ctx_, y, long_path));  // x^2 + x^5
  EXPECT_EQ(grad_of(x), (Numbers{2 * 2 + 5 * 16}));
}

TEST_F(EngineTest, SameInputTwice) {
  const Var x = parameter("x", {3, -4});
  backward_ones(ctx_, multiply(ctx_, x, x));
  EXPECT_EQ(grad_of(x), (Numbers{6, -8}));
}

TEST_F(EngineTest, AddedToItselfSharesOneGradientSafely) {
  const Var x = parameter("x", {3});
  const Var y = add(ctx_, x, x);
  backward_ones(ctx_, add(ctx_, y, y));
  EXPECT_EQ(grad_of(x), (Numbers{4}));
}

// Add hands one tensor to two producers, one of which receives more later, by target() or by put():
// the other must not see that. The engine runs the last input first.
TEST_F(EngineTest, SharedGradientIsNotOverwritten) {
  const Var a = parameter("a", {2}), b = parameter("b", {3});
  const double factor_p = factor("p"), factor_q = factor("q");
  for (const bool by_target : {true, false}) {
    for (const Var& leaf : {a, b}) leaf_of(leaf).clear_grad();
    const Var p = noise(ctx_, a, "p"), q = noise(ctx_, b, "q");
    const Var later = by_target ? multiply(ctx_, p, p) : add(ctx_, p, p);
    backward_ones(ctx_, add(ctx_, later, add(ctx_, p, q)));
    const double d_later = by_target ? 2 * 2 * factor_p : 2;
    EXPECT_DOUBLE_EQ(grad_of(a)[0], (d_later + 1) * factor_p);
    EXPECT_DOUBLE_EQ(grad_of(b)[0], factor_q);
  }
}

TEST_F(EngineTest, GradientsAccumulateOverPassesUntilCleared) {
  const Var x = parameter("x", {3});
  for (int pass = 1; pass <= 3; ++pass) {
    backward_ones(ctx_, multiply(ctx_, x, x));
    EXPECT_EQ(grad_of(x), (Numbers{6.0 * pass}));
  }
  leaf_of(x).clear_grad();
  EXPECT_FALSE(leaf_of(x).grad().defined());
  backward_ones(ctx_, multiply(ctx_, x, x));
  EXPECT_EQ(grad_of(x), (Numbers{6}));
}

TEST_F(EngineTest, AccumulationReusesTheGradientsMemory) {
  const Var x = parameter("x", {3});
  backward_ones(ctx_, multiply(ctx_, x, x));
  const std::byte* first = leaf_of(x).grad().raw();
  backward_ones(ctx_, multiply(ctx_, x, x));
  EXPECT_EQ(leaf_of(x).grad().raw(), first);
}

TEST_F(EngineTest, ConstantsAndDisabledModeRecordNothing) {
  const Var constant(make_tensor(ctx_, {2})), x = parameter("x", {3});
  EXPECT_FALSE(multiply(ctx_, constant, constant).requires_grad());
  {
    const GradMode off(ctx_, false);
    EXPECT_FALSE(multiply(ctx_, x, x).requires_grad());
  }
  backward_ones(ctx_, multiply(ctx_, constant, x));
  EXPECT_EQ(grad_of(x), (Numbers{2}));
}

TEST_F(EngineTest, UnusedOutputsHaveUndefinedGradients) {
  const Var x = parameter("x", {3});
  const std::vector<Var> forked = apply(ctx_, Fork{}, {x});
  backward_ones(ctx_, forked[1]);
  EXPECT_EQ(grad_of(x), (Numbers{2}));
}

TEST_F(EngineTest, SeveralRootsEvenIfOneLeadsToAnother) {
  const Var x = parameter("x", {3});
  for (const bool outer_first : {true, false}) {
    leaf_of(x).clear_grad();
    const Var square = multiply(ctx_, x, x), cube = multiply(ctx_, square, x);
    const std::vector<Var> roots =
        outer_first ? std::vector{cube, square} : std::vector{square, cube};
    backward(ctx_, roots, {make_tensor(ctx_, {1}), make_tensor(ctx_, {1})}, add_into);
    EXPECT_EQ(grad_of(x), (Numbers{27 + 6}));
  }
}

TEST_F(EngineTest, ScalarLossStartsFromOne) {
  const Var x = parameter("x", {3});
  backward(ctx_, multiply(ctx_, x, x), add_into);
  EXPECT_EQ(grad_of(x), (Numbers{6}));
}

TEST_F(EngineTest, LeafGradientsAreF32ForSmallDtypes) {
  EXPECT_EQ(leaf_of(make_parameter("w", ctx_.zeros({2}, DType::bf16))).grad_dtype(), DType::f32);
  EXPECT_EQ(leaf_of(make_parameter("w", ctx_.zeros({2}, DType::f64))).grad_dtype(), DType::f64);
}

// Both ways to hand a gradient over end under the gradients tag.
TEST_F(EngineTest, LeafGradientsAreBookedAsGradients) {
  const Var x = parameter("x", {3});
  backward_ones(ctx_, multiply(ctx_, x, x));
  EXPECT_EQ(ctx_.ledger().current(MemoryTag::gradients), 64);
  const Var y = parameter("y", {3});
  backward_ones(ctx_, noise(ctx_, y, "n"));
  EXPECT_EQ(ctx_.ledger().current(MemoryTag::gradients), 128);
}

TEST_F(EngineTest, ReadyHooksFireOnceWhenTheGradientIsComplete) {
  Names log;
  const auto hooked = [&](std::string name, double value) {
    const Var leaf = parameter(name, {value});
    leaf_of(leaf).set_ready_hook([&log](Context&, LeafNode& node) {
      log.push_back(fmt::format("{}={}", node.name(), read(node.grad())[0]));
    });
    return leaf;
  };
  const Var first = hooked("first", 2), second = hooked("second", 3), shared = hooked("shared", 5);
  Var x = multiply(ctx_, first, shared);
  x = multiply(ctx_, x, second);
  x = multiply(ctx_, x, shared);  // first * second * shared^2
  backward_ones(ctx_, x);
  EXPECT_EQ(log, (Names{"second=50", "first=75", "shared=60"}));
}

TEST_F(EngineTest, ReadyHookWaitsForEveryRecordedGraph) {
  int calls = 0;
  const Var x = parameter("x", {2});
  leaf_of(x).set_ready_hook([&](Context&, LeafNode&) { ++calls; });
  const Var y = multiply(ctx_, x, x), z = multiply(ctx_, x, x);
  { const Var dropped = multiply(ctx_, x, x); }
  backward_ones(ctx_, y);
  EXPECT_EQ(calls, 0);
  backward_ones(ctx_, z);
  EXPECT_EQ(calls, 1);
}

TEST_F(EngineTest, BackwardRunsUnderTheScopeOfForward) {
  Names log;
  const Var x = parameter("x", {2});
  Var y;
  {
    const NameScope layer(ctx_, "layers.0");
    y = noise(ctx_, x, "attention", &log);
  }
  const NameScope elsewhere(ctx_, "loss");
  backward_ones(ctx_, y);
  EXPECT_EQ(log, (Names{"layers.0.attention"}));
  EXPECT_EQ(ctx_.scope(), "loss");
}

TEST_F(EngineTest, ObserverSeesEveryOutput) {
  Names seen;
  ctx_.set_output_observer(
      [&](std::string_view scope, std::string_view op, std::span<const Tensor> outputs) {
        seen.push_back(fmt::format("{}/{}/{}", scope, op, outputs.size()));
      });
  const Var x = parameter("x", {2});
  apply(ctx_, Fork{}, {noise(ctx_, x, "n")});
  EXPECT_EQ(seen, (Names{"n/noise/1", "/fork/2"}));
}

TEST_F(EngineTest, ALongChainGoesWithoutDeepRecursion) {
  for (const bool with_backward : {false, true}) {
    const Var x = parameter("x", {1});
    Var y = x;
    for (int i = 0; i < 300'000; ++i) y = add(ctx_, y, x);
    if (!with_backward) continue;
    backward_ones(ctx_, y);
    EXPECT_EQ(grad_of(x), (Numbers{300'001}));
  }
}

TEST_F(EngineTest, Misuse) {
  const Var constant(make_tensor(ctx_, {2})), x = parameter("x", {3, 4});
  EXPECT_THROW(backward_ones(ctx_, constant), Error);
  const Var y = multiply(ctx_, x, x);
  EXPECT_THROW(backward(ctx_, y, add_into), Error);  // not a scalar
  EXPECT_THROW(backward(ctx_, std::span(&y, 1), {make_tensor(ctx_, {1})}, add_into), Error);
  EXPECT_THROW(leaf_of(y), Error);
}

// y = x^2 with backward 3 x.
struct Wrong : Multiply {
  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor>, GradSink& grads) const {
    grads.put(ctx, 0, read_scaled(ctx, saved[0]));
  }
  static Tensor read_scaled(Context& ctx, const Tensor& x) {
    Numbers values = read(x);
    for (double& v : values) v *= 3;
    return make_tensor(ctx, values);
  }
};

TEST_F(EngineTest, GradcheckTellsRightFromWrong) {
  const std::vector<Tensor> inputs{make_tensor(ctx_, {1, 2, -3}), make_tensor(ctx_, {0.5, 4, 2})};
  const auto right = [](Context& ctx, const std::vector<Var>& in) {
    return multiply(ctx, add(ctx, in[0], in[1]), in[0]);
  };
  EXPECT_TRUE(test::gradcheck_op(ctx_, right, inputs, add_into));
  EXPECT_TRUE(
      test::gradcheck_op(ctx_, right, inputs, add_into, {.max_elements = 1}));  // by directions
  const auto wrong = [](Context& ctx, const std::vector<Var>& in) {
    return apply_single(ctx, Wrong{}, {in[0], in[0]});
  };
  EXPECT_FALSE(test::gradcheck_op(ctx_, wrong, inputs, add_into));
  EXPECT_FALSE(test::gradcheck_op(ctx_, wrong, inputs, add_into, {.max_elements = 1}));
}

}  // namespace
}  // namespace tessera
