// Whole runs in small: they learn, and stopping and resuming changes nothing.
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>

#include "core/transfer.h"
#include "tests/train/support.h"
#include "train/generator.h"
#include "train/load_model.h"
#include "train/plan/plan.h"

namespace tessera {
namespace {

using TrainerTest = test::SmallRuns;

TEST_F(TrainerTest, Learns) {
  Trainer(config("run"), false).run();
  const auto losses = metric("run", "loss");
  ASSERT_EQ(losses.size(), 40u);
  EXPECT_NEAR(losses.front(), std::log(257.0), 0.2);
  EXPECT_LT(losses.back(), 0.6 * losses.front());
  const auto validation = metric("run", "validation_loss");
  ASSERT_EQ(validation.size(), 2u);
  EXPECT_LT(validation.back(), validation.front());
}

TEST_F(TrainerTest, LeavesAReportAndTensorBoardsFile) {
  const auto left = [&](const std::string& run, const std::string& name) {
    return std::filesystem::exists(folder_ / run / name);
  };
  Trainer(config("both"), false).run();
  EXPECT_TRUE(left("both", "report.html"));
  EXPECT_TRUE(left("both", "tensorboard"));
  EXPECT_NE(read_text_file(folder_ / "both" / "report.html").find("in 40 steps"),
            std::string::npos);
  Trainer(config("none", {"logging.report=false", "logging.tensorboard=false"}), false).run();
  EXPECT_FALSE(left("none", "report.html"));
  EXPECT_FALSE(left("none", "tensorboard"));
}

TEST_F(TrainerTest, EqualRunsAreEqualBitForBit) {
  Trainer(config("one"), false).run();
  Trainer(config("two"), false).run();
  EXPECT_EQ(metric("one", "loss"), metric("two", "loss"));
  EXPECT_EQ(metric("one", "grad_norm"), metric("two", "grad_norm"));
}

// Every window of such a text is the same, so that losses of micro-batches differ by dropout alone.
TEST_F(TrainerTest, MicroBatchesDrawDropoutMasksOfTheirOwn) {
  test::write_text(folder_ / "a.txt", std::string(5000, 'a'));
  prepare_text("a.h5", "byte", "a.txt");
  const std::string data = "data.sources=[{path: " + (folder_ / "a.h5").string() + "}]";
  const auto first_loss = [&](const std::string& accumulation) {
    Trainer(
        config(accumulation, {data, "attention.dropout=0.5", "training.batch=1", "training.steps=1",
                              "training.accumulation=" + accumulation, "schedule.warmup_steps=0"}),
        false)
        .run();
    return metric(accumulation, "loss").front();
  };
  EXPECT_GT(std::abs(first_loss("1") - first_loss("8")), 1e-6);
}

// A run whose last checkpoints are lost goes back to an older one and ends the same.
TEST_F(TrainerTest, ResumingIsBitForBitTheUninterruptedRun) {
  for (const std::string mode : {"fp32", "bf16", "bf16_rounded"}) {
    std::vector<std::string> overrides = {"precision.mode=" + mode.substr(0, 4),
                                          "training.accumulation=2", "attention.dropout=0.1"};
    if (mode == "bf16_rounded") overrides.push_back("optimizer.master_weights=false");
    Trainer(config("whole" + mode, overrides), false).run();
    Trainer(config("cut" + mode, overrides), false).run();
    for (const char* lost : {"step_20", "step_30", "step_40"}) {
      std::filesystem::remove_all(folder_ / ("cut" + mode) / "checkpoints" / lost);
    }
    Trainer(config("cut" + mode, overrides), true).run();
    EXPECT_EQ(metric("whole" + mode, "loss"), metric("cut" + mode, "loss")) << mode;
    EXPECT_EQ(metric("whole" + mode, "validation_loss"), metric("cut" + mode, "validation_loss"))
        << mode;
  }
}

// Updates of 2^-12 of the weights' size and less, which rounding to nearest would lose.
TEST_F(TrainerTest, LearnsInBf16WithoutMasterWeights) {
  const std::vector<std::string> overrides = {"precision.mode=bf16", "optimizer.lr=3e-5",
                                              "model.init.std=0.15", "optimizer.weight_decay=0"};
  Trainer(config("masters", overrides), false).run();
  std::vector<std::string> rounded = overrides;
  rounded.push_back("optimizer.master_weights=false");
  Trainer(config("rounded", rounded), false).run();
  const auto masters = metric("masters", "loss"), losses = metric("rounded", "loss");
  const double gain = masters.front() - masters.back();
  EXPECT_GT(gain, 0.05);
  EXPECT_NEAR(losses.front() - losses.back(), gain, 0.3 * gain);
}

TEST_F(TrainerTest, GeneratesFromWeightsThatAreBf16Only) {
  const std::vector<std::string> overrides = {"precision.mode=bf16", "training.steps=5",
                                              "optimizer.master_weights=false"};
  Trainer(config("run", overrides), false).run();
  Context ctx({.threads = 2, .isa = Isa::avx2});
  const LoadedModel loaded = load_model(ctx, folder_ / "run", DType::f32);
  for (const Parameter& parameter : loaded.model.parameters()) {
    if (!parameter.is_matrix()) continue;
    const Tensor& value = parameter.value();
    for (int64_t i = 0; i < value.elements(); ++i) {
      const float x = value.data<float>()[i];
      ASSERT_EQ(to_float(from_float<bf16>(x)), x) << parameter.name;
    }
  }
}

TEST_F(TrainerTest, PackedDocumentsResumeToo) {
  const std::vector<std::string> overrides = {"data.pack=true", "data.document_mask=true"};
  Trainer(config("whole", overrides), false).run();
  Trainer(config("cut", overrides), false).run();
  std::filesystem::remove_all(folder_ / "cut" / "checkpoints" / "step_40");
  Trainer(config("cut", overrides), true).run();
  EXPECT_EQ(metric("whole", "loss"), metric("cut", "loss"));
}

TEST_F(TrainerTest, ASignalFinishesTheStepSavesAndLeaves) {
  Trainer(config("whole"), false).run();
  {
    Trainer trainer(config("cut", {"checkpoint.every=0"}), false);
    std::raise(SIGTERM);  // remembered; the loop sees it before its first step
    trainer.run();
  }
  EXPECT_TRUE(metric("cut", "loss").empty());
  EXPECT_TRUE(std::filesystem::exists(folder_ / "cut" / "checkpoints" / "step_0"));
  Trainer(config("cut"), true).run();
  EXPECT_EQ(metric("whole", "loss"), metric("cut", "loss"));
}

TEST_F(TrainerTest, AMemoryPlanHoldsForTheWholeRun) {
  const RunConfig run = config("run");
  Trainer(run, false).run();
  EXPECT_EQ(int64_t(metric("run", "peak_bytes").back()), make_plan(run).peak_bytes);
}

TEST_F(TrainerTest, RefusesWhatWouldLoseOrMixRuns) {
  Trainer(config("run"), false).run();
  EXPECT_TRUE(test::contains(test::error_of([&] { Trainer(config("run"), false); }),
                             "already holds a run"));
  EXPECT_TRUE(
      test::contains(test::error_of([&] { Trainer(config("run", {"model.width=48"}), true); }),
                     "model/embedding.weight"));
  EXPECT_TRUE(test::contains(
      test::error_of([&] { Trainer(config("new", {"model.vocab_size=200"}), false); }), "257"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
}

// Sources of weight 0 are read for evaluation alone; before anything is written as well.
TEST_F(TrainerTest, RefusesAValidationFileOfAnotherTokenizer) {
  prepare_text("char.h5", "char");
  const auto path = [&](const std::string& name) { return (folder_ / name).string(); };
  const std::string data = fmt::format("data.sources=[{{path: {}}}, {{path: {}, weight: 0}}]",
                                       path("text.h5"), path("char.h5"));
  const std::string error = test::error_of([&] { Trainer(config("run", {data}), false); });
  EXPECT_TRUE(test::contains(error, "cannot be mixed")) << error;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(TrainerTest, ARunThatFailedBeforeItsFirstStepDoesNotBlockItsFolder) {
  { const Trainer trainer(config("run"), false); }
  Trainer(config("run"), false).run();
  EXPECT_EQ(metric("run", "loss").size(), 40u);
  std::filesystem::remove(folder_ / "run" / "metrics.jsonl");
  EXPECT_TRUE(test::contains(test::error_of([&] { Trainer(config("run"), false); }),
                             "already holds a run"));
}

// Windows of a long prompt carry no loss: such a step learns nothing, and training goes on.
TEST_F(TrainerTest, StepsWithoutATargetChangeNothing) {
  const std::string prompt(400, 'x');
  std::string lines;
  for (int i = 0; i < 12; ++i)
    lines += fmt::format("{{\"prompt\": \"{}\", \"response\": \"ok\"}}\n", prompt);
  test::write_text(folder_ / "chat.jsonl", lines);
  PrepareConfig prepared;
  prepared.corpus.inputs = {(folder_ / "chat.jsonl").string()};
  prepared.output = folder_ / "chat.h5";
  prepared.tokenizer = "byte";
  prepared.val_fraction = 0;
  prepared.instruction = InstructionConfig{.chat_template = "plain"};
  prepare(prepared, [](const PrepareProgress&) {});
  const std::string data = "data.sources=[{path: " + (folder_ / "chat.h5").string() + "}]";
  Trainer(config("run", {data, "training.batch=1", "evaluation.every=0", "checkpoint.every=1"}),
          false)
      .run();
  const std::vector<double> steps = metric("run", "step");
  EXPECT_GT(steps.size(), 0u);
  EXPECT_LT(steps.size(), 20u);  // about one window in 12 has a response
  Context ctx({.threads = 1});
  const auto weights = [&](int step) {
    const auto path = folder_ / "run" / "checkpoints" / fmt::format("step_{}", step);
    const LoadedModel loaded = load_model(ctx, path, DType::f32);
    return to_vector<float>(loaded.model.parameters().front().value());
  };
  for (int step = 2; step <= 40; ++step) {
    const bool learned = std::ranges::find(steps, double(step)) != steps.end();
    EXPECT_EQ(weights(step) != weights(step - 1), learned) << step;
  }
}

TEST_F(TrainerTest, ANonFiniteLossStopsWithTheNameOfTheTensor) {
  const std::string error = test::error_of([&] {
    Trainer(config("run", {"optimizer.lr=1e30", "training.gradient_clip=0"}), false).run();
  });
  EXPECT_TRUE(test::contains(error, "step ")) << error;
  EXPECT_TRUE(test::contains(error, "bad tensor") || test::contains(error, "parameter ")) << error;
}

TEST_F(TrainerTest, GeneratesFromItsCheckpoint) {
  Trainer(config("run", {"training.steps=300", "evaluation.every=0"}), false).run();
  Context ctx({.threads = 2, .isa = Isa::avx2});
  const LoadedModel loaded = load_model(ctx, folder_ / "run", DType::f32);
  const auto text = [&](double temperature, uint64_t seed) {
    GenerateOptions options{.sampler = {.temperature = temperature, .seed = seed},
                            .max_tokens = 60};
    std::string out;
    generate(ctx, loaded.model, *loaded.tokenizer, "3 and 4 make ", options,
             [&](std::string_view t) { out += t; });
    return out;
  };
  EXPECT_TRUE(test::contains(text(0, 0), " and "))
      << text(0, 0);  // beyond the context of 32 as well
  EXPECT_EQ(text(0, 0), text(0, 1));
  EXPECT_EQ(text(1, 5), text(1, 5));
  EXPECT_NE(text(1, 5), text(1, 6));
  GenerateOptions options{.sampler = {.temperature = 0}, .max_tokens = 60, .stop = {"make"}};
  std::string out;
  const Generated result = generate(ctx, loaded.model, *loaded.tokenizer, "3 and 4 make 7.\n",
                                    options, [&](std::string_view t) { out += t; });
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(out.find("make"), std::string::npos) << out;
}

}  // namespace
}  // namespace tessera
