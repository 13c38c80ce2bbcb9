#include "kernels/cross_entropy/op.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cross_entropy/kernel.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/linear/op.h"
#include "tests/kernels/device_case.h"
#include "tests/support/compare.h"
#include "tests/support/gradcheck.h"
#include "tests/support/reference_ops.h"

namespace tessera::test {
namespace {

// Spread over the vocabulary; every fifth row is ignored.
std::vector<int32_t> some_targets(int64_t rows, int64_t vocab) {
  std::vector<int32_t> targets(rows);
  for (int64_t i = 0; i < rows; ++i)
    targets[i] = i % 5 == 4 ? reference::kIgnored : int32_t(i * 7919 % vocab);
  return targets;
}

int64_t counted(const std::vector<int32_t>& targets) {
  return int64_t(targets.size()) - std::count(targets.begin(), targets.end(), reference::kIgnored);
}

// The reference's loss of each row alone.
Vec losses_by_row(const Vec& logits, const std::vector<int32_t>& targets, double z_loss) {
  const int64_t vocab = int64_t(logits.size() / targets.size());
  Vec losses;
  for (size_t i = 0; i < targets.size(); ++i) {
    const Vec row(logits.begin() + i * vocab, logits.begin() + (i + 1) * vocab);
    losses.push_back(reference::cross_entropy_forward(row, {targets[i]}, z_loss).loss);
  }
  return losses;
}

// exp errs by 5 roundoffs, a sum over lanes of V / 8 terms at most by that many.
double softmax_error(DType dtype, int64_t vocab) {
  return unit_roundoff(wide(dtype)) * double(20 + vocab / 8);
}

struct RowsCase {
  DType logits, dlogits;
  bool in_place;
  int64_t pad = 3;  // columns between rows: 3 of them leave rows unaligned
};

void check_rows(Context& ctx, RowsCase c, int64_t vocab) {
  SCOPED_TRACE(
      fmt::format("{} to {} V {}{}", c.logits, c.dlogits, vocab, c.in_place ? " in place" : ""));
  constexpr int64_t kRows = 7;
  constexpr double kZLoss = 0.125;
  const Vec values = representable("logits", kRows * vocab, c.logits, 3);
  const std::vector<int32_t> targets = some_targets(kRows, vocab);
  const int64_t stride = vocab + c.pad, ratio = int64_t(size_of(c.logits) / size_of(c.dlogits));
  const Tensor buffer = ctx.empty({kRows, stride}, c.logits);
  const Tensor logits = buffer.slice(1, 0, vocab);
  convert(ctx, logits, make_tensor(ctx, {kRows, vocab}, c.logits, values));
  const Tensor dlogits =
      c.in_place ? Tensor(buffer.storage(), {kRows, stride * ratio}, c.dlogits).slice(1, 0, vocab)
                 : ctx.empty({kRows, vocab}, c.dlogits);
  const Tensor losses = ctx.empty({kRows}, wide(c.logits));
  cross_entropy_rows(ctx, {.logits = logits,
                           .targets = make_tokens(ctx, targets),
                           .losses = losses,
                           .dlogits = dlogits,
                           .ignore_index = reference::kIgnored,
                           .z_loss = kZLoss,
                           .scale = 0.5});
  const double error = softmax_error(c.logits, vocab);
  EXPECT_TRUE(is_close(values_of(losses),
                       expected({kRows}, wide(c.logits), losses_by_row(values, targets, kZLoss)),
                       {.absolute = error, .relative = error}));
  const Vec exact =
      reference::cross_entropy_backward(values, targets, kZLoss, 0.5 * double(counted(targets)));
  EXPECT_TRUE(is_close(values_of(dlogits), expected({kRows, vocab}, c.dlogits, exact),
                       {.absolute = 0.5 * error, .relative = error + unit_roundoff(c.dlogits)}));
}

class CrossEntropyOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, CrossEntropyOn, ::testing::ValuesIn(built_devices()),
                         device_name);

TEST_P(CrossEntropyOn, MatchesTheReference) {
  on_all_levels(GetParam(), [](Context& ctx) {
    for (const int64_t vocab : kAwkwardSizes) {
      for (const bool in_place : {false, true}) {
        for (const int64_t pad : {int64_t{3}, 16 + (16 - vocab % 16) % 16}) {
          check_rows(ctx, {DType::f32, DType::f32, in_place, pad}, vocab);
          check_rows(ctx, {DType::f32, DType::bf16, in_place, pad}, vocab);
          check_rows(ctx, {DType::bf16, DType::bf16, in_place, pad}, vocab);
          check_rows(ctx, {DType::f64, DType::f64, in_place, pad}, vocab);
        }
      }
    }
  });
}

// On a GPU, large vocabularies take more threads a row.
TEST_P(CrossEntropyOn, LargeVocabularies) {
  Context ctx = context();
  for (const int64_t vocab : {8209, 65563}) {
    const int64_t pad = 16 + (16 - vocab % 16);
    check_rows(ctx, {DType::f32, DType::bf16, /*in_place=*/true, pad}, vocab);
    check_rows(ctx, {DType::bf16, DType::bf16, /*in_place=*/false, pad}, vocab);
  }
}

TEST_P(CrossEntropyOn, LossesWithoutGradients) {
  Context ctx = context();
  const Vec values = representable("logits", 5 * 127, DType::f32, 3);
  const std::vector<int32_t> targets = some_targets(5, 127);
  const Tensor logits = make_tensor(ctx, {5, 127}, DType::f32, values);
  const Tensor losses = ctx.empty({5}, DType::f32);
  cross_entropy_rows(
      ctx,
      {.logits = logits, .targets = make_tokens(ctx, targets), .losses = losses, .dlogits = {}});
  EXPECT_TRUE(is_close(values_of(losses),
                       expected({5}, DType::f32, losses_by_row(values, targets, 0)),
                       {.absolute = softmax_error(DType::f32, 127)}));
  EXPECT_TRUE(is_close(values_of(logits), expected({5, 127}, DType::f32, values), {}));
}

TEST_P(CrossEntropyOn, ExtremeLogits) {
  Context ctx = context();
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor logits = make_tensor(ctx, {4, 3}, DType::f32,
                                    {3e38, -3e38, 0,      //
                                     -inf, 5, 5,          //
                                     std::nan(""), 0, 0,  //
                                     -1e30, -1e30, -1e30});
  const Tensor losses = ctx.empty({4}, DType::f32), dlogits = ctx.empty({4, 3}, DType::f32);
  cross_entropy_rows(ctx, {.logits = logits,
                           .targets = make_tokens(ctx, {0, 1, 1, 2}),
                           .losses = losses,
                           .dlogits = dlogits});
  const Vec loss = values_of(losses).data, gradient = values_of(dlogits).data;
  EXPECT_EQ(loss[0], 0);
  EXPECT_NEAR(loss[1], std::log(2), 1e-6);
  EXPECT_TRUE(std::isnan(loss[2]));
  EXPECT_NEAR(loss[3], std::log(3), 1e-6);
  EXPECT_EQ(gradient[0], 0);
  EXPECT_EQ(gradient[3], 0);
  EXPECT_NEAR(gradient[4], -0.5, 1e-6);
}

TEST_P(CrossEntropyOn, IsReproducible) {
  for (const DType dtype : kComputeTypes) {
    EXPECT_TRUE(is_reproducible(GetParam(), [dtype](Context& ctx) {
      const Tensor losses = ctx.empty({301}, wide(dtype)), dlogits = ctx.empty({301, 127}, dtype);
      const Tensor total = ctx.empty({}, wide(dtype));
      cross_entropy_rows(
          ctx, {.logits = make_tensor(ctx, {301, 127}, dtype, representable("x", 301 * 127, dtype)),
                .targets = make_tokens(ctx, some_targets(301, 127)),
                .losses = losses,
                .dlogits = dlogits});
      total_loss(ctx, losses, 0.5, total);
      return std::vector<Tensor>{losses, dlogits, total};
    }));
  }
}

TEST_P(CrossEntropyOn, TotalLossSumsInDouble) {
  Context ctx = context();
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Vec losses = representable("losses", 4099, dtype);
    const Tensor total = ctx.empty({}, dtype);
    total_loss(ctx, make_tensor(ctx, {4099}, dtype, losses), 0.25, total);
    // 4099 additions with random errors of 2^-53 of sums below 300, then one rounding.
    const double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
    EXPECT_NEAR(values_of(total).data[0], 0.25 * sum, 1e-12 + unit_roundoff(dtype) * std::abs(sum));
  }
}

// The host cannot look at a GPU's targets.
TEST_P(CrossEntropyOn, TargetsOutsideTheVocabularyGiveNaNOnAGpu) {
  if (GetParam() == Device::cpu) return;
  Context ctx = context();
  const Tensor losses = ctx.empty({4}, DType::f32), dlogits = ctx.empty({4, 5}, DType::f32);
  cross_entropy_rows(ctx, {.logits = make_tensor(ctx, {4, 5}, DType::f32, Vec(20, 1)),
                           .targets = make_tokens(ctx, {5, 4, -1, -100}),
                           .losses = losses,
                           .dlogits = dlogits});
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(std::isnan(values_of(losses).data[i / 5]), i / 5 % 2 == 0);
    EXPECT_EQ(std::isnan(values_of(dlogits).data[i]), i / 5 % 2 == 0);
  }
}

// The inputs of a small language-model head and what they should give.
struct Head {
  int64_t rows, vocab, width;
  DType dtype;
  std::vector<int32_t> targets = some_targets(rows, vocab);
  Vec hidden = representable("hidden", rows* width, dtype);
  Vec weight = representable("weight", vocab* width, dtype, 0.3);
  Vec logits = reference::linear_forward(hidden, weight, {}, width);

  LossOptions options(int64_t chunk = 0) const {
    return {.z_loss = 0.01, .scale = 1.0 / double(counted(targets)), .chunk = chunk};
  }
  double loss() const { return reference::cross_entropy_forward(logits, targets, 0.01).loss; }
  reference::LinearGradients gradients() const {
    return reference::linear_backward(
        hidden, weight, reference::cross_entropy_backward(logits, targets, 0.01), width);
  }
};

struct HeadVars {
  Var hidden, weight;
  Tensor targets;
};

HeadVars make_vars(Context& ctx, const Head& h) {
  return {
      .hidden = make_parameter("hidden", make_tensor(ctx, {h.rows, h.width}, h.dtype, h.hidden)),
      .weight = make_parameter("weight", make_tensor(ctx, {h.vocab, h.width}, h.dtype, h.weight)),
      .targets = make_tokens(ctx, h.targets)};
}

// Losses err by what the logits (sums of `width` products) and the softmax err. Gradients of bf16
// come from dlogits rounded to bf16: independent relative errors of 2^-8.
double head_error(const Head& h) {
  const double u = unit_roundoff(wide(h.dtype));
  return softmax_error(h.dtype, h.vocab) + 6 * u * double(h.width);
}

void check_gradients(const Head& h, const HeadVars& vars, double factor) {
  reference::LinearGradients exact = h.gradients();
  for (Vec* g : {&exact.dx, &exact.dweight})
    for (double& value : *g) value *= factor;
  const double bound = head_error(h) + (h.dtype == DType::bf16 ? unit_roundoff(DType::bf16) : 0);
  EXPECT_TRUE(is_close_l2(values_of(leaf_of(vars.hidden).grad()),
                          expected({h.rows, h.width}, wide(h.dtype), exact.dx), bound));
  EXPECT_TRUE(is_close_l2(values_of(leaf_of(vars.weight).grad()),
                          expected({h.vocab, h.width}, wide(h.dtype), exact.dweight), bound));
}

// Chunks of one row, of rows that do not divide, and all at once.
TEST_P(CrossEntropyOn, LinearMatchesTheReferenceForAnyChunk) {
  on_all_levels(GetParam(), [](Context& ctx) {
    for (const DType dtype : kComputeTypes) {
      const Head h{.rows = 31, .vocab = 127, .width = 33, .dtype = dtype};
      for (const int64_t chunk : {0, 1, 12, 31, 1000}) {
        SCOPED_TRACE(fmt::format("{} chunk {}", dtype, chunk));
        const HeadVars vars = make_vars(ctx, h);
        const Var loss =
            linear_cross_entropy(ctx, vars.hidden, vars.weight, vars.targets, h.options(chunk));
        EXPECT_TRUE(is_close(values_of(loss.value()), expected({}, wide(dtype), {h.loss()}),
                             {.absolute = head_error(h), .relative = head_error(h)}));
        backward(ctx, loss, add_into);
        check_gradients(h, vars, 1);
      }
    }
  });
}

TEST_P(CrossEntropyOn, LinearEqualsTheUnfusedComposition) {
  for (const DType dtype : kComputeTypes) {
    Context ctx = context();
    const Head h{.rows = 31, .vocab = 127, .width = 33, .dtype = dtype};
    const HeadVars fused = make_vars(ctx, h), unfused = make_vars(ctx, h);
    const Var a = linear_cross_entropy(ctx, fused.hidden, fused.weight, fused.targets, h.options());
    const Var logits = linear(ctx, unfused.hidden, unfused.weight);
    const Var b = cross_entropy(ctx, logits, unfused.targets, h.options());
    backward(ctx, a, add_into);
    backward(ctx, b, add_into);
    // The unfused logits are rounded to bf16, by a part of their size; most are below 4.
    const double error =
        head_error(h) + (dtype == DType::bf16 ? 4 * unit_roundoff(DType::bf16) : 0);
    EXPECT_TRUE(is_close(values_of(a.value()), values_of(b.value()), {.relative = error}));
    EXPECT_TRUE(is_close_l2(values_of(leaf_of(fused.hidden).grad()),
                            values_of(leaf_of(unfused.hidden).grad()), error));
    EXPECT_TRUE(is_close_l2(values_of(leaf_of(fused.weight).grad()),
                            values_of(leaf_of(unfused.weight).grad()), error));
  }
}

TEST_P(CrossEntropyOn, LinearGradientsInDouble) {
  Context ctx = context(1);
  const Head h{.rows = 5, .vocab = 7, .width = 3, .dtype = DType::f64};
  const Tensor hidden = make_tensor(ctx, {5, 3}, DType::f64, h.hidden);
  const Tensor weight = make_tensor(ctx, {7, 3}, DType::f64, h.weight);
  const Tensor targets = make_tokens(ctx, h.targets);
  // The upstream gradient is a random number here: the gradients are scaled.
  EXPECT_TRUE(gradcheck_op(
      ctx,
      [&](Context& c, const std::vector<Var>& in) {
        return linear_cross_entropy(c, in[0], in[1], targets, h.options(2));
      },
      {hidden, weight}, add_into));
  EXPECT_TRUE(gradcheck_op(
      ctx,
      [&](Context& c, const std::vector<Var>& in) {
        return cross_entropy(c, linear(c, in[0], in[1]), targets, h.options());
      },
      {hidden, weight}, add_into));
}

TEST_P(CrossEntropyOn, LinearUpstreamGradientScales) {
  for (const DType dtype : kComputeTypes) {
    Context ctx = context();
    const Head h{.rows = 31, .vocab = 127, .width = 33, .dtype = dtype};
    const HeadVars vars = make_vars(ctx, h);
    const Var loss = linear_cross_entropy(ctx, vars.hidden, vars.weight, vars.targets, h.options());
    backward(ctx, std::span(&loss, 1), {make_tensor(ctx, {}, wide(dtype), {-3})}, add_into);
    check_gradients(h, vars, -3);
  }
}

TEST_P(CrossEntropyOn, LinearHandsGradientsOverWithoutNewMemoryAndAddsLaterOnes) {
  Context ctx = context();
  const Head h{.rows = 31, .vocab = 127, .width = 33, .dtype = DType::f32};
  const HeadVars vars = make_vars(ctx, h);
  Var loss = linear_cross_entropy(ctx, vars.hidden, vars.weight, vars.targets, h.options());
  ctx.ledger().reset_peak();
  const int64_t before = ctx.ledger().current();
  backward(ctx, loss, add_into);
  EXPECT_EQ(ctx.ledger().peak(), before + int64_t(MemoryPool::kGranule));  // the gradient 1
  EXPECT_EQ(leaf_of(vars.weight).grad().storage()->tag(), MemoryTag::gradients);
  loss = linear_cross_entropy(ctx, vars.hidden, vars.weight, vars.targets, h.options());
  backward(ctx, loss, add_into);
  check_gradients(h, vars, 2);
}

TEST_P(CrossEntropyOn, LinearFrozenWeightHasNoGradient) {
  Context ctx = context();
  const Head h{.rows = 31, .vocab = 127, .width = 33, .dtype = DType::f32};
  const HeadVars vars = make_vars(ctx, h);
  const Var loss =
      linear_cross_entropy(ctx, vars.hidden, Var(vars.weight.value()), vars.targets, h.options());
  EXPECT_EQ(ctx.ledger().current(MemoryTag::gradients), 0);
  backward(ctx, loss, add_into);
  EXPECT_TRUE(is_close_l2(values_of(leaf_of(vars.hidden).grad()),
                          expected({31, 33}, DType::f32, h.gradients().dx), head_error(h)));
}

TEST_P(CrossEntropyOn, LinearRowsThatAreAllIgnoredGiveZero) {
  Context ctx = context();
  Head h{.rows = 4, .vocab = 127, .width = 33, .dtype = DType::f32};
  h.targets.assign(4, reference::kIgnored);
  const HeadVars vars = make_vars(ctx, h);
  const Var loss = linear_cross_entropy(ctx, vars.hidden, vars.weight, vars.targets);
  backward(ctx, loss, add_into);
  EXPECT_EQ(values_of(loss.value()).data[0], 0);
  EXPECT_TRUE(is_close(values_of(leaf_of(vars.hidden).grad()),
                       expected({4, 33}, DType::f32, Vec(4 * 33)), {}));
  EXPECT_TRUE(is_close(values_of(leaf_of(vars.weight).grad()),
                       expected({127, 33}, DType::f32, Vec(127 * 33)), {}));
}

TEST_P(CrossEntropyOn, LinearLossesPerToken) {
  Context ctx = context();
  for (const DType dtype : kComputeTypes) {
    const Head h{.rows = 31, .vocab = 127, .width = 33, .dtype = dtype};
    const HeadVars vars = make_vars(ctx, h);
    const Tensor losses = linear_cross_entropy_per_token(
        ctx, vars.hidden.value(), vars.weight.value(), vars.targets, h.options(12));
    EXPECT_TRUE(is_close(values_of(losses),
                         expected({31}, wide(dtype), losses_by_row(h.logits, h.targets, 0)),
                         {.absolute = head_error(h), .relative = head_error(h)}));
  }
}

TEST(LinearCrossEntropy, DefaultChunk) {
  EXPECT_EQ(loss_chunk(768, 65), 768);       // all rows
  EXPECT_EQ(loss_chunk(2048, 4096), 1024);   // 16 MiB
  EXPECT_EQ(loss_chunk(2048, 8192), 512);    // 16 MiB
  EXPECT_EQ(loss_chunk(2048, 128256), 256);  // the least
  EXPECT_EQ(loss_chunk(1100, 4096), 560);    // even parts of a multiple of 16
  EXPECT_EQ(loss_chunk(1, 8192), 16);
  EXPECT_EQ(loss_chunk(16384, 128256, Device::cuda), 2048);  // the least on a GPU
  EXPECT_EQ(loss_chunk(16384, 8192, Device::simt), 8192);    // 256 MiB
}

TEST(LinearCrossEntropy, PlansItsMemory) {
  for (const DType dtype : kComputeTypes) {
    const Head h{.rows = 31, .vocab = 127, .width = 33, .dtype = dtype};
    EXPECT_TRUE(plans_its_memory([&h](Context& ctx) {
      const HeadVars vars = make_vars(ctx, h);
      return linear_cross_entropy(ctx, vars.hidden, vars.weight, vars.targets, h.options(12));
    })) << name_of(dtype);
  }
}

TEST(LinearCrossEntropy, BadInputIsNamed) {
  Context ctx = cpu_context();
  Head h{.rows = 31, .vocab = 127, .width = 33, .dtype = DType::f32};
  const auto run = [&] {
    const HeadVars vars = make_vars(ctx, h);
    linear_cross_entropy(ctx, vars.hidden, vars.weight, vars.targets, h.options(12));
  };
  for (const int32_t bad : {127, -1}) {
    h.targets[20] = bad;
    EXPECT_TRUE(fails_with(run, fmt::format("cross_entropy: target {} at position 20 is outside "
                                            "the vocabulary of 127; ignored positions hold -100",
                                            bad)));
  }
  h.targets.pop_back();
  EXPECT_TRUE(fails_with(run, "linear_cross_entropy: targets of shape [30] for 31 rows of hidden"));
}

}  // namespace
}  // namespace tessera::test
