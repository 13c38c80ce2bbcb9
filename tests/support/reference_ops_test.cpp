#include "tests/support/reference_ops.h"

#include <cmath>

#include "tests/support/gradcheck.h"
#include "tests/support/reference_rope.h"

namespace tessera::reference {
namespace {

using test::gradcheck;
using test::gradcheck_map;

TEST(ReferenceOps, EmbeddingAddsUpRepeatedTokens) {
  const std::vector<int32_t> tokens{2, 0, 2};
  EXPECT_EQ(embedding_forward({1, 2, 3, 4, 5, 6}, tokens, 2), (Vec{5, 6, 1, 2, 5, 6}));
  EXPECT_TRUE(gradcheck_map(
      "weight", [&](const Vec& w) { return embedding_forward(w, tokens, 2); },
      [&](const Vec& dy) { return embedding_backward(dy, tokens, 4); }, random_values("w", 8)));
}

TEST(ReferenceOps, Linear) {
  EXPECT_EQ(linear_forward({1, 2}, {3, 4, 5, 6}, {10, 20}, 2), (Vec{21, 37}));
  const Vec x = random_values("x", 4 * 3), w = random_values("w", 5 * 3), b = random_values("b", 5);
  EXPECT_TRUE(gradcheck_map(
      "x", [&](const Vec& moved) { return linear_forward(moved, w, b, 3); },
      [&](const Vec& dy) { return linear_backward(x, w, dy, 3).dx; }, x));
  EXPECT_TRUE(gradcheck_map(
      "weight", [&](const Vec& moved) { return linear_forward(x, moved, b, 3); },
      [&](const Vec& dy) { return linear_backward(x, w, dy, 3).dweight; }, w));
  EXPECT_TRUE(gradcheck_map(
      "bias", [&](const Vec& moved) { return linear_forward(x, w, moved, 3); },
      [&](const Vec& dy) { return linear_backward(x, w, dy, 3).dbias; }, b));
}

TEST(ReferenceOps, RmsNorm) {
  const Vec y = rms_norm_forward({3, 4}, {1, 2}, 0);
  EXPECT_DOUBLE_EQ(y[0], 3 / std::sqrt(12.5));
  EXPECT_DOUBLE_EQ(y[1], 8 / std::sqrt(12.5));
  const double eps = 0.1;
  const Vec x = random_values("x", 4 * 3), w = random_values("w", 3);
  EXPECT_TRUE(gradcheck_map(
      "x", [&](const Vec& moved) { return rms_norm_forward(moved, w, eps); },
      [&](const Vec& dy) { return rms_norm_backward(x, w, dy, eps).dx; }, x));
  EXPECT_TRUE(gradcheck_map(
      "weight", [&](const Vec& moved) { return rms_norm_forward(x, moved, eps); },
      [&](const Vec& dy) { return rms_norm_backward(x, w, dy, eps).dweight; }, w));
}

TEST(ReferenceOps, AddRmsNorm) {
  const double eps = 0.1;
  const Vec x = random_values("x", 4 * 3), residual = random_values("r", 4 * 3),
            w = random_values("w", 3);
  const Vec dsum = random_values("dsum", 12), dy = random_values("dy", 12);
  const auto objective = [&](const Vec& a, const Vec& b, const Vec& weight) {
    const AddRmsNormOutput out = add_rms_norm_forward(a, b, weight, eps);
    return dot(dsum, out.sum) + dot(dy, out.y);
  };
  const AddRmsNormGradients g = add_rms_norm_backward(add(x, residual), w, dsum, dy, eps);
  EXPECT_TRUE(gradcheck(
      "x", [&](const Vec& moved) { return objective(moved, residual, w); }, x, g.dsum));
  EXPECT_TRUE(gradcheck(
      "residual", [&](const Vec& moved) { return objective(x, moved, w); }, residual, g.dsum));
  EXPECT_TRUE(gradcheck(
      "weight", [&](const Vec& moved) { return objective(x, residual, moved); }, w, g.dweight));
}

TEST(ReferenceOps, Swiglu) {
  EXPECT_DOUBLE_EQ(swiglu_forward({2, 3}, 1)[0], 6 / (1 + std::exp(-2.0)));
  const Vec x = random_values("x", 3 * 8);
  EXPECT_TRUE(gradcheck_map(
      "gate_up", [&](const Vec& moved) { return swiglu_forward(moved, 4); },
      [&](const Vec& dy) { return swiglu_backward(x, dy, 4); }, x));
}

TEST(ReferenceOps, CrossEntropyValues) {
  const CrossEntropyOutput out =
      cross_entropy_forward({0, std::log(3.0), 5, 5}, {1, kIgnored}, 0.5);
  EXPECT_DOUBLE_EQ(out.lse[0], std::log(4.0));
  EXPECT_DOUBLE_EQ(out.lse[1], 5 + std::log(2.0));
  EXPECT_DOUBLE_EQ(out.loss, std::log(4.0 / 3) + 0.5 * std::pow(std::log(4.0), 2));
  EXPECT_EQ(cross_entropy_forward({1, 2}, {kIgnored}).loss, 0);
}

TEST(ReferenceOps, CrossEntropyGradient) {
  const std::vector<int32_t> targets{3, kIgnored, 0, 4};
  const Vec logits = random_values("logits", 4 * 5, 2);
  for (double z_loss : {0.0, 0.3})
    EXPECT_TRUE(gradcheck(
        "logits",
        [&](const Vec& x) { return 1.5 * cross_entropy_forward(x, targets, z_loss).loss; }, logits,
        cross_entropy_backward(logits, targets, z_loss, 1.5)));
}

// The first step moves by lr * g / (|g| + eps) after decay, whatever the betas.
TEST(ReferenceOps, AdamWSteps) {
  const AdamWSpec s{.lr = 0.1, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-8, .weight_decay = 0.5};
  Vec p{2, -3}, m{0, 0}, v{0, 0};
  adamw_step(s, 1, {4, -0.5}, p, m, v);
  EXPECT_NEAR(p[0], 2 * 0.95 - 0.1, 1e-8);
  EXPECT_NEAR(p[1], -3 * 0.95 + 0.1, 1e-8);
  adamw_step(s, 2, {2, 0}, p, m, v);
  const double m0 = 0.8 * 0.2 * 4 + 0.2 * 2, v0 = 0.9 * 0.1 * 16 + 0.1 * 4;
  EXPECT_DOUBLE_EQ(m[0], m0);
  EXPECT_DOUBLE_EQ(v[0], v0);
  EXPECT_NEAR(p[0], 1.8 * 0.95 - 0.1 * (m0 / 0.36) / std::sqrt(v0 / 0.19), 1e-8);
}

TEST(ReferenceOps, NormAndClipping) {
  EXPECT_DOUBLE_EQ(global_norm({{3}, {0, 4}}), 5);
  EXPECT_DOUBLE_EQ(clip_factor(0.5, 1), 1);
  EXPECT_NEAR(clip_factor(5, 1), 0.2, 1e-6);
}

TEST(ReferenceRope, RotatesPairsByPositionTimesFrequency) {
  const Vec y = rope_forward({.theta = 100}, {1, 0, 0, 1}, {3}, 4);  // pairs (0, 2) and (1, 3)
  EXPECT_DOUBLE_EQ(y[0], std::cos(3.0));
  EXPECT_DOUBLE_EQ(y[2], std::sin(3.0));
  EXPECT_DOUBLE_EQ(y[1], -std::sin(0.3));
  EXPECT_DOUBLE_EQ(y[3], std::cos(0.3));
}

TEST(ReferenceRope, Gradients) {
  const std::vector<int32_t> positions{0, 5, 2};
  const RopeSpec scalings[] = {
      {},
      {.scaling = RopeScaling::linear, .factor = 4},
      {.scaling = RopeScaling::ntk, .factor = 4},
      {.scaling = RopeScaling::yarn, .factor = 4, .original_length = 64},
      {.scaling = RopeScaling::llama3, .factor = 8, .original_length = 64}};
  for (const RopeSpec& spec : scalings)
    EXPECT_TRUE(gradcheck_map(
        "x", [&](const Vec& x) { return rope_forward(spec, x, positions, 6); },
        [&](const Vec& dy) { return rope_backward(spec, dy, positions, 6); },
        random_values("x", 3 * 2 * 6)));
}

TEST(ReferenceRope, NtkKeepsTheFastestAndStretchesTheSlowestByFactor) {
  const Vec plain = rope_frequencies({}, 64).radians_per_position;
  const Vec ntk =
      rope_frequencies({.scaling = RopeScaling::ntk, .factor = 4}, 64).radians_per_position;
  EXPECT_DOUBLE_EQ(ntk[0], 1);
  EXPECT_NEAR(ntk[31], plain[31] / 4, 1e-12);
}

// Llama 3.1: theta 500000, factor 8, ramp between 1 and 4 turns over 8192. Wavelengths under 2048
// are kept, those over 8192 stretched; pair 29 of 64 has wavelength 2 pi 500000^(29/64) =
// 2402.0, 3.4105 turns.
TEST(ReferenceRope, Llama3Scaling) {
  const RopeSpec plain{.theta = 500000};
  const RopeSpec spec{
      .theta = 500000, .scaling = RopeScaling::llama3, .factor = 8, .original_length = 8192};
  const Vec f0 = rope_frequencies(plain, 128).radians_per_position;
  const Vec f = rope_frequencies(spec, 128).radians_per_position;
  EXPECT_EQ(f[28], f0[28]);
  const double kept = (8192 * f0[29] / (2 * M_PI) - 1) / 3;
  EXPECT_NEAR(kept, 0.8035, 1e-3);
  EXPECT_NEAR(f[29] / f0[29], kept + (1 - kept) / 8, 1e-12);
  EXPECT_NEAR(f[35] / f0[35], 0.125, 1e-12);
}

// Llama 2 by YaRN with factor 16 from 4096: the ramp runs from pair floor(20.9) to ceil(45.03).
TEST(ReferenceRope, YarnScaling) {
  const RopeSpec spec{.scaling = RopeScaling::yarn, .factor = 16, .original_length = 4096};
  const Vec f0 = rope_frequencies({}, 128).radians_per_position;
  const RopeFrequencies f = rope_frequencies(spec, 128);
  EXPECT_EQ(f.radians_per_position[20], f0[20]);
  EXPECT_NEAR(f.radians_per_position[33] / f0[33], 0.5 + 0.5 / 16, 1e-12);
  EXPECT_NEAR(f.radians_per_position[46] / f0[46], 1.0 / 16, 1e-12);
  EXPECT_DOUBLE_EQ(f.amplitude, 0.1 * std::log(16.0) + 1);
}

}  // namespace
}  // namespace tessera::reference
