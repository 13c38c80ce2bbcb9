// model.init_from: a run that begins with the weights of another.
#include <gtest/gtest.h>

#include "core/transfer.h"
#include "tests/train/support.h"
#include "train/load_model.h"
#include "train/plan/plan.h"
#include "train/trainer.h"

namespace tessera {
namespace {

using test::contains;
using test::error_of;

class FineTuning : public test::SmallRuns {
 protected:
  FineTuning() {
    Trainer(config("source", {"training.steps=10", "evaluation.every=10", "optimizer.lr=1e-2"}),
            false)
        .run();
  }

  // A configuration without sizes.
  std::string tuning_yaml(const std::string& run) const {
    return fmt::format(R"(
run: {{output_dir: {0}/{1}, threads: 2}}
model: {{init_from: {0}/source}}
data: {{sources: [{{path: {0}/text.h5}}]}}
training: {{steps: 4, batch: 4}}
schedule: {{type: constant}}
checkpoint: {{every: 2}}
evaluation: {{every: 2}}
logging: {{console: false}}
)",
                       folder_.path().string(), run);
  }
  RunConfig tuning(const std::string& run, const std::vector<std::string>& overrides = {},
                   ConfigUse use = ConfigUse::train) const {
    return read_run_config({"tune.yaml", tuning_yaml(run)}, overrides, use);
  }
  std::string source() const { return (folder_ / "source").string(); }
};

TEST_F(FineTuning, TakesTheShapeOfTheSource) {
  const RunConfig config = tuning("run", {"model.context=64", "model.rope.scaling=linear",
                                          "model.rope.factor=2", "model.sliding_window=16"});
  EXPECT_EQ(config.model.width, 32);
  EXPECT_EQ(config.model.kv_heads, 2);
  EXPECT_EQ(config.model.context, 64);
  EXPECT_EQ(config.model.sliding_window, 16);
  EXPECT_EQ(config.model.rope.scaling, RopeScaling::linear);
  EXPECT_EQ(config.model.init_from, source());
  EXPECT_EQ(tuning("run").model.context, 32);
  // Every form of the source gives the same.
  for (const char* part : {"checkpoints", "checkpoints/latest", "checkpoints/step_10"}) {
    const std::string place = "model.init_from=" + (folder_ / "source" / part).string();
    EXPECT_EQ(tuning("run", {place}).model.width, 32) << part;
  }
  EXPECT_GT(make_plan(tuning("run", {}, ConfigUse::plan)).peak_bytes, 0);
}

TEST_F(FineTuning, KeysThatTheWeightsFixMustAgree) {
  EXPECT_NO_THROW(tuning("run", {"model.width=32", "model.kv_heads=2"}));
  EXPECT_EQ(
      error_of([&] { tuning("run", {"model.width=64"}); }),
      fmt::format("--set model.width: 64 does not agree with {}, whose weights have 32; leave "
                  "the key out",
                  source()));
  for (const char* key : {"vocab_size=300", "layers=3", "heads=8", "head_dim=16", "ffn_width=32",
                          "tied_embeddings=true", "qk_norm=true", "norm_eps=1e-6"}) {
    EXPECT_TRUE(contains(error_of([&] { tuning("run", {fmt::format("model.{}", key)}); }),
                         "does not agree"))
        << key;
  }
  EXPECT_TRUE(contains(error_of([&] { tuning("run", {"model.preset=smollm2-135m"}); }),
                       "model.preset smollm2-135m cannot be given too"));
}

TEST_F(FineTuning, ASourceThatIsNoneIsNamed) {
  EXPECT_TRUE(contains(error_of([&] { tuning("run", {"model.init_from=/no/such"}); }),
                       "/no/such: does not exist"));
  EXPECT_TRUE(
      contains(error_of([&] { tuning("run", {"model.init_from=" + folder_.path().string()}); }),
               "holds neither a checkpoint"));
}

// The first loss is the source's on that batch, not that of random weights (ln 257 = 5.5).
TEST_F(FineTuning, BeginsWithTheWeightsOfTheSource) {
  for (const std::string mode : {"fp32", "bf16"}) {
    const std::string run = "run" + mode;
    Trainer(tuning(run, {"precision.mode=" + mode}), false).run();
    EXPECT_NEAR(metric(run, "loss").front(), metric("source", "validation_loss").back(), 0.3);
  }
  // With a learning rate that changes nothing, every weight is still the source's, bit for bit.
  Trainer(tuning("still", {"optimizer.lr=1e-30", "optimizer.weight_decay=0"}), false).run();
  Context ctx({.threads = 2, .isa = Isa::avx2});
  const LoadedModel before = load_model(ctx, folder_ / "source", DType::f32);
  const LoadedModel after = load_model(ctx, folder_ / "still", DType::f32);
  for (size_t i = 0; i < before.model.parameters().size(); ++i) {
    EXPECT_EQ(to_vector<float>(before.model.parameters()[i].value()),
              to_vector<float>(after.model.parameters()[i].value()))
        << before.model.parameters()[i].name;
  }
}

TEST_F(FineTuning, ResumesWithoutTheSource) {
  Trainer(tuning("whole"), false).run();
  Trainer(tuning("cut"), false).run();
  std::filesystem::remove_all(folder_ / "cut" / "checkpoints" / "step_4");
  std::filesystem::rename(folder_ / "source", folder_ / "gone");
  EXPECT_TRUE(contains(error_of([&] { tuning("cut"); }), "does not exist"));
  Trainer(tuning("cut", {}, ConfigUse::resume), true).run();
  EXPECT_EQ(metric("cut", "loss"), metric("whole", "loss"));
  EXPECT_TRUE(contains(error_of([&] { tuning("cut", {"model.width=64"}, ConfigUse::resume); }),
                       "does not agree"));
}

TEST_F(FineTuning, DataOfAnotherTokenizerIsRefusedBeforeAnythingIsWritten) {
  prepare_text("char.h5", "char");
  const RunConfig other =
      tuning("run", {fmt::format("data.sources=[{{path: {}}}]", (folder_ / "char.h5").string())});
  EXPECT_TRUE(contains(error_of([&] { Trainer(other, false); }), "trained with tokenizer byte"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

// A longer context by scaled positions, from weights of a shorter one.
TEST_F(FineTuning, ExtendsTheContext) {
  Trainer(tuning("long", {"model.context=128", "model.rope.scaling=yarn", "model.rope.factor=4",
                          "model.rope.original_context=32"}),
          false)
      .run();
  Context ctx({.threads = 2, .isa = Isa::avx2});
  const LoadedModel loaded = load_model(ctx, folder_ / "long", DType::f32);
  EXPECT_EQ(loaded.model.config().context, 128);
  EXPECT_EQ(loaded.model.config().rope.scaling, RopeScaling::yarn);
}

}  // namespace
}  // namespace tessera
