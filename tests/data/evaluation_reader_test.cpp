#include <gtest/gtest.h>

#include <numeric>

#include "data/loader.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

using namespace test;

class Evaluation : public ::testing::Test {
 protected:
  void SetUp() override {
    write_token_file(folder / "a.h5", 10000, {{1, 2}}, counting_documents({30, 1, 40, 35}));
    write_token_file(folder / "b.h5", 10000, {{1, 2}}, counting_documents({52}, 1000));
    write_token_file(folder / "none.h5", 10000, {{1, 2}});
  }

  EvaluationConfig config() {
    return {.files = {folder / "a.h5", folder / "b.h5"}, .context = 10, .batch = 4};
  }

  // First tokens of the rows that count, over the ranks in the order of samples.
  std::vector<int32_t> first_tokens(EvaluationConfig config) {
    std::vector<EvaluationReader> readers;
    for (config.rank = 0; config.rank < config.ranks; ++config.rank) readers.emplace_back(config);
    std::vector<int32_t> first;
    for (Batch batch;;) {
      for (EvaluationReader& reader : readers) {
        if (!reader.next(batch)) return first;
        EXPECT_EQ(batch.samples, config.batch);
        EXPECT_EQ(batch.tokens.size(), size_t(config.batch * config.context));
        for (int64_t r = 0; r < config.batch; ++r) {
          const auto row = size_t(r * config.context);
          if (batch.targets[row] != kIgnoreTarget) first.push_back(batch.tokens[row]);
        }
      }
    }
  }

  TemporaryFolder folder;
};

// 10 windows of a (106 tokens) and 5 of b (52 tokens); nothing is read twice.
TEST_F(Evaluation, GoesThroughEveryWindowOnce) {
  const std::vector<int32_t> expected{0,  10, 20,   30,   40,   50,   60,  70,
                                      80, 90, 1000, 1010, 1020, 1030, 1040};
  EvaluationReader reader(config());
  EXPECT_EQ(reader.batches(), 4);
  EXPECT_EQ(reader.samples(), 15);
  EXPECT_EQ(first_tokens(config()), expected);
  for (int ranks : {2, 3, 4, 8}) {
    EvaluationConfig divided = config();
    divided.ranks = ranks;
    EXPECT_EQ(first_tokens(divided), expected) << ranks;
  }
}

TEST_F(Evaluation, PaddingPredictsNothing) {
  EvaluationReader reader(config());
  Batch batch;
  int64_t targets = 0;
  while (reader.next(batch)) targets += batch.target_count();
  EXPECT_EQ(targets, 150);
  EXPECT_EQ(batch.target_count(), 30);  // three windows and a row of padding
  EXPECT_FALSE(reader.next(batch));
  reader.rewind();
  ASSERT_TRUE(reader.next(batch));
  EXPECT_EQ(batch.tokens[0], 0);
  EXPECT_EQ(batch.targets[0], 1);
}

// With a stride every target of the windows is there once, and has at least context - stride tokens
// before it.
TEST_F(Evaluation, StridesPredictEveryTokenOnce) {
  for (int64_t stride : {1, 3, 10}) {
    EvaluationConfig overlapping = config();
    overlapping.stride = stride;
    EvaluationReader reader(overlapping);
    std::vector<int32_t> targets;
    for (Batch batch; reader.next(batch);) {
      for (size_t i = 0; i < batch.targets.size(); ++i) {
        if (batch.targets[i] == kIgnoreTarget) continue;
        targets.push_back(batch.targets[i]);
        const bool first =
            batch.targets[i] <= 10 || (batch.targets[i] > 1000 && batch.targets[i] <= 1010);
        EXPECT_GE(batch.positions[i], first ? 0 : 10 - stride);
      }
    }
    // a has 106 tokens and b 52; windows are whole.
    std::vector<int32_t> expected(size_t(95 / stride * stride + 10));
    std::iota(expected.begin(), expected.end(), 1);
    std::vector<int32_t> of_b(size_t(41 / stride * stride + 10));
    std::iota(of_b.begin(), of_b.end(), 1001);
    expected.insert(expected.end(), of_b.begin(), of_b.end());
    EXPECT_EQ(targets, expected) << stride;
  }
  EvaluationConfig wrong = config();
  wrong.stride = 11;
  EXPECT_TRUE(contains(error_of([&] { EvaluationReader reader(wrong); }), "stride of 11"));
}

TEST_F(Evaluation, ALimitSpreadsTheWindows) {
  EvaluationConfig limited = config();
  limited.batch = 5;
  limited.max_batches = 1;
  EXPECT_EQ(first_tokens(limited), (std::vector<int32_t>{0, 30, 60, 90, 1020}));
  limited.batch = 1;
  limited.ranks = 5;
  EXPECT_EQ(first_tokens(limited), (std::vector<int32_t>{0, 30, 60, 90, 1020}));
  limited.max_batches = 100;
  EXPECT_EQ(first_tokens(limited).size(), 15u);
}

TEST_F(Evaluation, DocumentMask) {
  EvaluationConfig masked = config();
  masked.document_mask = true;
  EvaluationReader reader(masked);
  Batch batch;
  reader.next(batch);
  // Window 2 ends before token 30, the first of a document of one; window 3 is that document and
  // the next.
  EXPECT_EQ(batch.targets[29], kIgnoreTarget);
  EXPECT_EQ(batch.targets[30], kIgnoreTarget);
  EXPECT_EQ(batch.targets[31], 32);
  EXPECT_EQ(batch.cu_seqlens, (std::vector<int32_t>{0, 10, 20, 30, 31, 40}));
  EXPECT_EQ(batch.positions[31], 0);
}

TEST_F(Evaluation, ShortSplitsAreLeftOutUnlessAllAre) {
  EvaluationConfig some = config();
  some.files = {folder / "none.h5", folder / "b.h5"};
  EXPECT_EQ(EvaluationReader(some).samples(), 5);
  const auto error = [&](auto&& change) {
    EvaluationConfig bad = config();
    change(bad);
    return error_of([&] { EvaluationReader reader(bad); });
  };
  EXPECT_TRUE(contains(error([](auto& c) { c.context = 106; }),
                       "a.h5 has 106 validation tokens, fewer than the 107 of one sample"));
  EXPECT_TRUE(
      contains(error([&](auto& c) { c.files = {folder / "none.h5"}; }), "has 0 validation"));
  EXPECT_TRUE(contains(error([](auto& c) { c.files.clear(); }), "no token files"));
  EXPECT_TRUE(contains(error([](auto& c) { c.batch = 0; }), "batch of at least 1"));
  EXPECT_TRUE(contains(error([](auto& c) { c.rank = 2; }), "rank 2 of 1"));
}

// Even a file that has no window: what it gets later must not be mixed in unseen.
TEST_F(Evaluation, RefusesFilesOfDifferentTokenizers) {
  write_token_file(folder / "other.h5", 10001, {{1, 2}}, counting_documents({5}));
  EvaluationConfig mixed = config();
  mixed.files.push_back(folder / "other.h5");
  const std::string error = error_of([&] { EvaluationReader reader(mixed); });
  EXPECT_TRUE(contains(error, "a.h5 (tokenizer ")) << error;
  EXPECT_TRUE(contains(error, "other.h5 (tokenizer ")) << error;
}

}  // namespace
}  // namespace tessera
