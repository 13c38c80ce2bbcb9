// The same training on every device: emulated CUDA kernels follow the cpu's losses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/random.h"
#include "core/transfer.h"
#include "train/setup.h"

namespace tessera {
namespace {

constexpr int kSteps = 20;

constexpr const char* kBase = R"(
model: {vocab_size: 65, layers: 2, width: 32, heads: 4, kv_heads: 2, ffn_width: 64, context: 16}
training: {batch: 2}
run: {threads: 2}
)";

using Losses = std::vector<double>;

RunConfig config_of(const std::vector<std::string>& overrides) {
  return read_run_config({"base.yaml", kBase}, overrides, ConfigUse::plan);
}

// The same batch at every step, so that the loss falls; packed: documents of 7 tokens at most.
Batch fixed_batch(const RunConfig& config) {
  const Philox random(3, purpose_id("device_test"), 0);
  Batch batch{.samples = config.training.batch, .context = config.model.context};
  const int64_t n = batch.samples * batch.context;
  for (int64_t i = 0; i < n; ++i) {
    batch.tokens.push_back(int32_t(random.below(uint64_t(i), 65)));
    batch.targets.push_back(int32_t(random.below(uint64_t(n + i), 65)));
    batch.positions.push_back(int32_t(i % batch.context));
    if (config.data.document_mask && i % batch.context % 7 == 0)
      batch.cu_seqlens.push_back(int32_t(i));
  }
  if (config.data.document_mask) batch.cu_seqlens.push_back(int32_t(n));
  return batch;
}

// Multiplies every weight by 1 + u or 1 - u, u the distance from 1 to the next number above.
void perturb(const Llama& model, uint64_t seed) {
  for (const Parameter& parameter : model.parameters()) {
    const Philox random(seed, purpose_id(parameter.name), 0);
    dispatch_compute("perturb", parameter.value().dtype(), [&]<class T>() {
      const float unit = std::is_same_v<T, bf16> ? 0x1p-7f : 0x1p-23f;
      std::vector<T> values = to_vector<T>(parameter.value());
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = from_float<T>(to_float(values[i]) * (1 + (random.bits(i) & 1 ? unit : -unit)));
      }
      upload(parameter.value(), values.data());
    });
  }
}

// The losses of the steps, the weights perturbed at first unless `seed` is 0.
Losses train(const RunConfig& config, uint64_t seed = 0, int steps = kSteps) {
  Context ctx(context_options(config.run));
  const Llama model(ctx, config.model, compute_options(config));
  AdamW optimizer(ctx, model.parameters(), optimizer_options(config));
  initialize(ctx, model.parameters(), config.run.seed);
  if (seed != 0) perturb(model, seed);
  optimizer.copy_masters(ctx);
  const Batch batch = fixed_batch(config);
  Losses losses;
  for (int step = 0; step < steps; ++step) {
    ctx.set_step(uint32_t(step));
    losses.push_back(
        training_step(ctx, model, optimizer, std::span(&batch, 1), 1e-3, step_options(config))
            .loss);
  }
  return losses;
}

// Rounding in another order acts on every step like a change of the weights by their last place,
// each time another one: by step s, s + 1 of them have come together, as their root of squares.
// What one does, perturbed runs show; and the loss itself is rounded to f32 twice.
Losses allowed_difference(const RunConfig& config, const Losses& losses) {
  Losses allowed;
  std::vector<Losses> perturbed;
  for (uint64_t seed = 1; seed <= 3; ++seed) perturbed.push_back(train(config, seed));
  double largest = 0;
  for (size_t s = 0; s < losses.size(); ++s) {
    for (const Losses& other : perturbed)
      largest = std::max(largest, std::abs(other[s] - losses[s]));
    allowed.push_back(std::sqrt(double(s + 1)) * largest + 0x1p-23 * losses[s]);
  }
  return allowed;
}

// The host checks offsets before they go to a device whose memory it cannot read.
TEST(UploadTest, RefusesDocumentsThatDoNotFollowEachOther) {
  Context ctx({.device = Device::simt});
  Batch batch{.samples = 1, .context = 8};
  batch.tokens = batch.targets = batch.positions = std::vector<int32_t>(8, 0);
  batch.cu_seqlens = {0, 6, 4, 8};
  try {
    upload(ctx, batch);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "attention: document segment 1 begins at 6 and ends at 4; offsets must not "
                 "decrease");
  }
}

constexpr const char* kVariable = "TESSERA_SIMT";

struct Case {
  const char* name;
  std::vector<std::string> overrides;
  const char* emulator = "";  // its options

  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

class SimtTrainingTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { setenv(kVariable, GetParam().emulator, /*overwrite=*/1); }
  void TearDown() override { unsetenv(kVariable); }
};

TEST(ContextOptionsTest, RefuseBf16OnAnEmulatedTuring) {
  setenv(kVariable, "architecture=75", /*overwrite=*/1);
  std::string message;
  try {
    context_options(config_of({"run.device=simt", "precision.mode=bf16"}));
  } catch (const Error& error) {
    message = error.what();
  }
  unsetenv(kVariable);
  EXPECT_EQ(message,
            "precision.mode: simt is a GPU before sm_80 here, which has no products in bf16; use "
            "fp32");
}

TEST_P(SimtTrainingTest, FollowsTheCpu) {
  std::vector<std::string> overrides = GetParam().overrides;
  overrides.push_back("run.device=cpu");
  const RunConfig on_cpu = config_of(overrides);
  overrides.back() = "run.device=simt";
  const Losses expected = train(on_cpu), actual = train(config_of(overrides));
  const Losses allowed = allowed_difference(on_cpu, expected);
  EXPECT_LT(expected.back(), expected.front() - 0.5);
  for (size_t s = 0; s < expected.size(); ++s)
    EXPECT_LE(std::abs(actual[s] - expected[s]), allowed[s]) << "step " << s;
  overrides.push_back("memory.recompute=block");
  constexpr int kFew = 5;
  EXPECT_EQ(train(config_of(overrides), 0, kFew), Losses(actual.begin(), actual.begin() + kFew));
}

INSTANTIATE_TEST_SUITE_P(
    Configurations, SimtTrainingTest,
    testing::Values(
        Case{"f32", {}}, Case{"f32_sm75", {}, "architecture=75"},
        Case{"bf16", {"precision.mode=bf16"}},
        Case{"bf16_alibi_sink",
             {"precision.mode=bf16", "model.positions=alibi", "model.attention_sink=true"}},
        Case{"bf16_no_masters", {"precision.mode=bf16", "optimizer.master_weights=false"}},
        Case{"bf16_packed_dropout",
             {"precision.mode=bf16", "data.document_mask=true", "attention.dropout=0.1",
              "model.qk_norm=true", "model.qkv_bias=true", "model.tied_embeddings=true",
              "memory.loss_chunk=17"}}),
    [](const auto& named) { return named.param.name; });

}  // namespace
}  // namespace tessera
