// The plan made on `meta` equals what the same step books on the cpu, to the byte.
#include "train/plan/plan.h"

#include <gtest/gtest.h>

#include "core/random.h"
#include "train/setup.h"

namespace tessera {
namespace {

struct Case {
  const char* name;
  std::vector<std::string> overrides;

  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

constexpr const char* kBase = R"(
model: {vocab_size: 65, layers: 3, width: 48, heads: 6, kv_heads: 2, ffn_width: 80, context: 40}
training: {batch: 3}
run: {threads: 2}
)";

RunConfig config_of(const Case& c) {
  return read_run_config({"base.yaml", kBase}, c.overrides, ConfigUse::plan);
}

// Random tokens; with document_mask, documents of random lengths.
Batch random_batch(const RunConfig& config, uint64_t seed) {
  const Philox random(seed, purpose_id("plan_test"), 0);
  Batch batch{.samples = config.training.batch, .context = config.model.context};
  const int64_t n = batch.samples * batch.context;
  for (int64_t i = 0; i < n; ++i) {
    batch.tokens.push_back(int32_t(random.below(uint64_t(i), 65)));
    batch.targets.push_back(int32_t(random.below(uint64_t(n + i), 65)));
    batch.positions.push_back(int32_t(i % batch.context));
    const bool begins_row = i % batch.context == 0;
    if (config.data.document_mask && (begins_row || random.uniform(uint64_t(i)) < 0.1f)) {
      batch.cu_seqlens.push_back(int32_t(i));
    }
  }
  if (config.data.document_mask) batch.cu_seqlens.push_back(int32_t(n));
  return batch;
}

class PlanTest : public testing::TestWithParam<Case> {};

TEST_P(PlanTest, EqualsTheRunToTheByte) {
  const RunConfig config = config_of(GetParam());
  const Plan plan = make_plan(config);

  Context ctx(context_options(config.run));
  const Llama model(ctx, config.model, compute_options(config));
  AdamW optimizer(ctx, model.parameters(), optimizer_options(config));
  initialize(ctx, model.parameters(), config.run.seed);
  optimizer.copy_masters(ctx);
  for (int step = 0; step < 3; ++step) {
    ctx.set_step(uint32_t(step));
    std::vector<Batch> batches;
    for (int64_t i = 0; i < config.training.accumulation; ++i) {
      batches.push_back(random_batch(config, uint64_t(step * 10 + i)));
    }
    training_step(ctx, model, optimizer, batches, 1e-3, step_options(config));
    evaluation_loss(ctx, model, batches.front(), config.memory.loss_chunk);
  }
  EXPECT_EQ(plan.peak_bytes, ctx.ledger().peak());
  for (size_t tag = 0; tag < kMemoryTags; ++tag) {
    EXPECT_EQ(plan.peak_by_tag[tag], ctx.ledger().peak_by_tag()[tag]) << name_of(MemoryTag(tag));
    EXPECT_EQ(plan.at_peak[tag], ctx.ledger().at_peak()[tag]) << name_of(MemoryTag(tag));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Configurations, PlanTest,
    testing::Values(
        Case{"f32", {}}, Case{"bf16", {"precision.mode=bf16"}},
        Case{"f32_accumulation", {"training.accumulation=3"}},
        Case{"bf16_accumulation", {"precision.mode=bf16", "training.accumulation=2"}},
        Case{"f32_recompute", {"memory.recompute=block"}},
        Case{"bf16_recompute_accumulation",
             {"precision.mode=bf16", "memory.recompute=block", "training.accumulation=2"}},
        Case{"f32_standard", {"attention.backend=standard"}},
        Case{"bf16_standard", {"precision.mode=bf16", "attention.backend=standard"}},
        Case{"f32_packed", {"data.document_mask=true", "data.pack=true"}},
        Case{"bf16_packed_standard",
             {"precision.mode=bf16", "data.document_mask=true", "attention.backend=standard"}},
        Case{"f32_packed_one_kv_head", {"data.document_mask=true", "model.kv_heads=1"}},
        Case{"bf16_packed_three_kv_heads",
             {"precision.mode=bf16", "data.document_mask=true", "model.kv_heads=3"}},
        Case{"f32_alibi_sink", {"model.positions=alibi", "model.attention_sink=true"}},
        Case{"bf16_alibi_sink_standard",
             {"precision.mode=bf16", "model.positions=alibi", "model.attention_sink=true",
              "attention.backend=standard", "memory.recompute=block"}},
        Case{"bf16_no_masters", {"precision.mode=bf16", "optimizer.master_weights=false"}},
        Case{"f32_no_positions", {"model.positions=none"}},
        Case{"f32_tied", {"model.tied_embeddings=true"}},
#ifdef TESSERA_TEST_SIMT
        Case{"simt_f32", {"run.device=simt", "model.context=16", "training.batch=1"}},
        Case{"simt_bf16_atomics",
             {"run.device=simt", "model.context=16", "training.batch=1", "precision.mode=bf16",
              "attention.deterministic=false"}},
        Case{"simt_bf16_alibi_sink",
             {"run.device=simt", "model.context=16", "training.batch=1", "precision.mode=bf16",
              "model.positions=alibi", "model.attention_sink=true"}},
        Case{"simt_bf16_packed",
             {"run.device=simt", "model.context=16", "training.batch=1", "precision.mode=bf16",
              "data.document_mask=true", "memory.recompute=block", "training.accumulation=2"}},
#endif
        Case{"bf16_everything",
             {"precision.mode=bf16", "model.tied_embeddings=true", "model.qk_norm=true",
              "model.qkv_bias=true", "model.sliding_window=7", "attention.dropout=0.1",
              "attention.softcap=20", "memory.recompute=block", "memory.loss_chunk=17",
              "training.z_loss=1e-4", "training.accumulation=2", "data.document_mask=true"}}),
    [](const auto& named) { return named.param.name; });

// Attention keeps O(T) for flash and O(T^2) for standard.
TEST(Plan, ActivationsGrowLinearlyWithFlashAndQuadraticallyWithStandard) {
  const auto activations = [](const char* backend, int64_t context) {
    const RunConfig config = config_of(
        {"",
         {fmt::format("attention.backend={}", backend), fmt::format("model.context={}", context),
          "training.batch=1", "memory.loss_chunk=64"}});
    return double(make_plan(config).peak_by_tag[size_t(MemoryTag::activations)]);
  };
  const double flash_1k = activations("flash", 1024);
  EXPECT_NEAR(activations("flash", 4096) / flash_1k, 4, 0.04);
  EXPECT_NEAR(activations("flash", 16384) / flash_1k, 16, 0.16);
  // 3 layers x 6 heads x T^2 probabilities in f32, in place of flash's T log-sum-exps.
  const double extra_1k = activations("standard", 1024) - flash_1k;
  EXPECT_EQ(extra_1k, 3.0 * 6 * 4 * (1024.0 * 1024 - 1024));
  EXPECT_NEAR((activations("standard", 4096) - activations("flash", 4096)) / extra_1k, 16, 0.5);
}

TEST(Plan, CountsEveryPresetWithoutMemory) {
  for (const std::string& preset : preset_names()) {
    if (preset == "custom") continue;
    const RunConfig config = read_run_config(
        {"preset.yaml",
         fmt::format("model: {{preset: {}}}\ntraining: {{batch: 1}}\nprecision: {{mode: bf16}}\n"
                     "memory: {{recompute: block}}\n",
                     preset)},
        {}, ConfigUse::plan);
    const Plan plan = make_plan(config);
    EXPECT_EQ(plan.parameters, parameter_count(config.model)) << preset;
    EXPECT_GT(plan.peak_bytes, 14 * plan.parameters) << preset;  // bf16, master, m and v
    // The kernels' own count and the formula agree but for norms and the like, and recomputation
    // (up to 4/3).
    const double formula = plan.flops_per_token * double(plan.tokens_per_step);
    EXPECT_GT(plan.step.total().flops, 0.98 * formula) << preset;
    EXPECT_LT(plan.step.total().flops, 1.6 * formula) << preset;
  }
}

}  // namespace
}  // namespace tessera
