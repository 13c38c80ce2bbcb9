#include "core/autograd/recompute.h"

#include <gtest/gtest.h>

#include "tests/core/autograd/toy_ops.h"

namespace tessera {
namespace {

using namespace toy;
using Numbers = std::vector<double>;

// A small network with two parameters, random numbers, a residual and `layers` segments.
class RecomputeTest : public ::testing::Test {
 protected:
  enum class Mode { plain, segments, nested };

  Var segment(const Var& x, int layer) {
    const NameScope scope(ctx_, "layers." + std::to_string(layer));
    const Var y = noise(ctx_, multiply(ctx_, x, w_), "dropout");
    return add(ctx_, x, multiply(ctx_, y, v_));
  }

  Var run(Mode mode, const Var& x, int layer) {
    if (mode == Mode::plain) return segment(x, layer);
    const Segment body = [this, mode, layer](std::span<const Var> in) {
      return std::vector{run(mode == Mode::nested ? Mode::segments : Mode::plain, in[0], layer)};
    };
    return recompute(ctx_, body, {x}).front();
  }

  // The segments' input comes from an op, as a layer's does: a leaf would hold the sum of earlier
  // passes, to which plain calls add every use by itself and a segment all of its uses at once.
  Var forward(Mode mode, int layers) {
    const NameScope model(ctx_, "model");  // backward runs outside of it
    Var x = noise(ctx_, x_, "embedding");
    for (int layer = 0; layer < layers; ++layer) x = run(mode, x, layer);
    return x;
  }

  Var parameter(const std::string& name, double stddev) {
    const Philox philox(1, purpose_id(name), 0);
    Numbers values;
    for (int i = 0; i < 64; ++i) values.push_back(stddev * philox.normal(uint64_t(i)));
    return make_parameter(name, make_tensor(ctx_, values));
  }
  int64_t activations() { return ctx_.ledger().current(MemoryTag::activations); }

  Context ctx_{ContextOptions{.poison = true}};
  Var x_ = parameter("x", 1), w_ = parameter("w", 0.5), v_ = parameter("v", 0.5);
};

TEST_F(RecomputeTest, GradientsAreBitwiseThoseOfThePlainCall) {
  std::vector<Numbers> results[3];
  for (const Mode mode : {Mode::plain, Mode::segments, Mode::nested}) {
    for (const Var& leaf : {x_, w_, v_}) leaf_of(leaf).clear_grad();
    for (int microbatch = 0; microbatch < 2; ++microbatch) {
      const Var y = forward(mode, 3);
      results[int(mode)].push_back(read(y.value()));
      backward_ones(ctx_, y);
    }
    for (const Var& leaf : {x_, w_, v_}) results[int(mode)].push_back(grad_of(leaf));
  }
  EXPECT_EQ(results[int(Mode::segments)], results[int(Mode::plain)]);
  EXPECT_EQ(results[int(Mode::nested)], results[int(Mode::plain)]);
}

TEST_F(RecomputeTest, KeepsOnlyTheInputsOfSegments) {
  const int64_t before = activations();
  const Var y = forward(Mode::segments, 5);
  EXPECT_EQ(activations() - before,
            6 * 512);  // the embedding and every output, [64] f64; x itself is there already
}

TEST_F(RecomputeTest, BackwardFreesWhatItRecomputed) {
  const int64_t before = activations();
  backward_ones(ctx_, forward(Mode::segments, 5));
  EXPECT_EQ(activations(), before);
}

TEST_F(RecomputeTest, ReadyHooksFireOnceAfterTheLastSegment) {
  for (const Mode mode : {Mode::segments, Mode::nested}) {
    Names log;
    Numbers at_hook;
    leaf_of(w_).clear_grad();
    leaf_of(w_).set_ready_hook([&](Context&, LeafNode& leaf) {
      log.push_back(leaf.name());
      at_hook = read(leaf.grad());
    });
    backward_ones(ctx_, forward(mode, 4));
    EXPECT_EQ(log, (Names{"w"}));
    EXPECT_EQ(at_hook, grad_of(w_));
  }
}

TEST_F(RecomputeTest, AbandonedGraphLeavesNoUses) {
  int calls = 0;
  leaf_of(w_).set_ready_hook([&](Context&, LeafNode&) { ++calls; });
  { const Var abandoned = forward(Mode::segments, 2); }
  backward_ones(ctx_, forward(Mode::segments, 2));
  EXPECT_EQ(calls, 1);
}

TEST_F(RecomputeTest, RunsOnceWithoutRecording) {
  const GradMode off(ctx_, false);
  int runs = 0;
  const Segment body = [&](std::span<const Var> in) {
    ++runs;
    return std::vector{multiply(ctx_, in[0], w_)};
  };
  EXPECT_FALSE(recompute(ctx_, body, {x_}).front().requires_grad());
  EXPECT_EQ(runs, 1);
}

TEST_F(RecomputeTest, ConstantInputsStillReachTheParameters) {
  const Var constant(x_.value());
  const Segment body = [&](std::span<const Var> in) {
    return std::vector{multiply(ctx_, in[0], w_)};
  };
  backward_ones(ctx_, recompute(ctx_, body, {constant}).front());
  EXPECT_EQ(grad_of(w_), read(x_.value()));
}

TEST_F(RecomputeTest, OnlyTheUsedOutputPropagates) {
  const Segment body = [&](std::span<const Var> in) {
    return std::vector{multiply(ctx_, in[0], w_), multiply(ctx_, in[0], v_)};
  };
  backward_ones(ctx_, recompute(ctx_, body, {x_})[1]);
  EXPECT_EQ(grad_of(x_), read(v_.value()));
  EXPECT_FALSE(leaf_of(w_).grad().defined());
}

TEST_F(RecomputeTest, AnotherStepWouldDrawOtherNumbersAndIsAnError) {
  const Var y = forward(Mode::segments, 1);
  ctx_.set_step(1);
  EXPECT_THROW(backward_ones(ctx_, y), Error);
}

TEST_F(RecomputeTest, SegmentInputsGoThroughSavedTensorHooks) {
  int packed = 0, unpacked = 0;
  const SavedTensorHooks hooks{.pack = [&](Context&, const Tensor& x) -> std::any {
                                 ++packed;
                                 return x;
                               },
                               .unpack =
                                   [&](Context&, const std::any& x) {
                                     ++unpacked;
                                     return std::any_cast<Tensor>(x);
                                   }};
  const SavedTensorHooksScope scope(ctx_, &hooks);
  const Var y = forward(Mode::segments, 3);
  EXPECT_EQ(packed, 3);
  backward_ones(ctx_, y);
  EXPECT_EQ(unpacked, 3);
  EXPECT_EQ(packed, 3);  // what is recomputed is used at once and stays
}

}  // namespace
}  // namespace tessera
