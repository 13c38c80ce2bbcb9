#include "train/evaluator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/launch/cpu/isa.h"
#include "tests/train/support.h"
#include "train/load_model.h"
#include "train/step.h"
#include "train/trainer.h"

namespace tessera {
namespace {

using test::contains;
using test::error_of;

class EvaluatorTest : public test::SmallRuns {
 protected:
  static Evaluation run(Context& ctx, const LoadedModel& loaded, EvaluationReader& reader) {
    return evaluate(ctx, loaded.model, reader, token_bytes(*loaded.tokenizer), 0, [](int64_t) {});
  }
  EvaluationReader reader(int64_t context, int64_t batch = 4, int64_t batches = 0,
                          bool document_mask = false) const {
    return EvaluationReader({.files = {folder_ / "text.h5"},
                             .context = context,
                             .document_mask = document_mask,
                             .batch = batch,
                             .max_batches = batches});
  }
  static Context make_context() { return Context({.threads = 2, .isa = best_isa()}); }
};

TEST_F(EvaluatorTest, EqualsTheTrainersEvaluationOfTheSameWindows) {
  for (const std::string mode : {"fp32", "bf16"}) {
    Trainer(config("run" + mode, {"training.steps=20", "precision.mode=" + mode}), false).run();
    Context ctx = make_context();
    const LoadedModel loaded =
        load_model(ctx, folder_ / ("run" + mode), mode == "bf16" ? DType::bf16 : DType::f32);
    EvaluationReader windows = reader(32, 4, 2);
    const Evaluation result = run(ctx, loaded, windows);
    EXPECT_EQ(result.targets, 2 * 4 * 32);
    EXPECT_EQ(result.windows, 2 * 4);
    EXPECT_NEAR(result.loss(), metric("run" + mode, "validation_loss").back(), 1e-12) << mode;
  }
}

// Recounted here from the losses of single windows.
TEST_F(EvaluatorTest, SumsByPositionAddUp) {
  Trainer(config("run", {"training.steps=5", "evaluation.every=0"}), false).run();
  Context ctx = make_context();
  const LoadedModel loaded =
      load_model(ctx, folder_ / "run", DType::f32,
                 {"model.context=300", "model.rope.scaling=ntk", "model.rope.factor=10"});
  EvaluationReader windows = reader(300, 3);
  const Evaluation result = run(ctx, loaded, windows);
  std::vector<double> sums(4, 0);
  double bytes = 0;
  windows.rewind();
  for (Batch batch; windows.next(batch);) {
    const std::vector<float> losses = token_losses(ctx, loaded.model, batch, 0);
    for (size_t i = 0; i < losses.size(); ++i) {
      const size_t at = i % 300;
      sums[at < 64 ? 0 : at < 128 ? 1 : at < 256 ? 2 : 3] += double(losses[i]);
      if (batch.targets[i] >= 0 && batch.targets[i] < 256) ++bytes;
    }
  }
  ASSERT_EQ(result.positions.size(), 4u);
  const int64_t ends[] = {64, 128, 256, 300};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(result.positions[i].end, ends[i]);
    EXPECT_EQ(result.positions[i].targets, result.windows * (ends[i] - result.positions[i].begin));
    EXPECT_NEAR(result.positions[i].sum, sums[i], 1e-9 * sums[i]);
  }
  EXPECT_EQ(double(result.bytes), bytes);
  EXPECT_NEAR(result.bits_per_byte(),
              std::accumulate(sums.begin(), sums.end(), 0.0) / std::log(2.0) / bytes, 1e-9);
  EXPECT_DOUBLE_EQ(result.perplexity(), std::exp(result.loss()));
}

TEST_F(EvaluatorTest, PositionsCountFromTheDocumentWithADocumentMask) {
  Trainer(config("run", {"training.steps=5", "evaluation.every=0"}), false).run();
  std::string lines;
  for (int i = 0; i < 50; ++i) lines += "{\"text\": \"0123456789\"}\n";
  test::write_text(folder_ / "short.jsonl", lines);
  PrepareConfig short_documents;
  short_documents.corpus.inputs = {(folder_ / "short.jsonl").string()};
  short_documents.output = folder_ / "text.h5";
  short_documents.tokenizer = "byte";
  short_documents.val_fraction = 0.5;
  prepare(short_documents, [](const PrepareProgress&) {});
  Context ctx = make_context();
  const LoadedModel loaded = load_model(ctx, folder_ / "run", DType::f32, {"model.context=100"});
  EvaluationReader masked = reader(100, 1, 0, true), whole = reader(100, 1);
  EXPECT_EQ(run(ctx, loaded, masked).positions[1].targets, 0);
  EXPECT_GT(run(ctx, loaded, whole).positions[1].targets, 0);
}

TEST_F(EvaluatorTest, OverridesMustFitTheWeights) {
  Trainer(config("run", {"training.steps=5", "evaluation.every=0"}), false).run();
  Context ctx = make_context();
  EXPECT_TRUE(
      contains(error_of([&] { load_model(ctx, folder_ / "run", DType::f32, {"model.width=64"}); }),
               "model.width: 64 does not agree with"));
  EXPECT_TRUE(contains(
      error_of([&] { load_model(ctx, folder_ / "run", DType::f32, {"model.rope.factr=2"}); }),
      "model.rope.factor"));
}

}  // namespace
}  // namespace tessera
