// Instruction data from JSON lines to the targets of batches.
#include <gtest/gtest.h>

#include "core/hdf5/handle.h"
#include "data/loader.h"
#include "data/prepare.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

using namespace test;

constexpr char kEnd = '|';  // stands for the separator in texts

class LossMask : public ::testing::Test {
 protected:
  // Documents "Q<i>:\nA<i>..|" of different lengths; what begins with A carries loss.
  void SetUp() override {
    std::string lines;
    for (int i = 0; i < 40; ++i) {
      lines += fmt::format(R"({{"prompt": "Q{}:", "response": "A{}"}})", i,
                           std::string(size_t(i % 5), '.'));
      lines += "\n";
    }
    write_text(folder / "a.jsonl", lines);
  }

  PrepareConfig config(SplitRule split = SplitRule::documents) {
    PrepareConfig result;
    result.corpus.inputs = {(folder / "a.jsonl").string()};
    result.output = folder / "out.h5";
    result.tokenizer = "byte";
    result.val_fraction = 0.4;
    result.split = split;
    result.instruction = {.chat_template = "plain", .fields = {}};
    return result;
  }

  static PrepareSummary run(const PrepareConfig& config) {
    return prepare(config, [](const PrepareProgress&) {});
  }
  std::string error() {
    const std::string text = error_of([&] { run(config()); });
    EXPECT_FALSE(std::filesystem::exists(folder / "out.h5"));
    return text;
  }

  static char character(int32_t id) { return id == 256 ? kEnd : char(id); }
  // Each token of the split, '_' in place of those without loss.
  std::string trained_text(Split split) {
    TokenFile file(folder / "out.h5");
    const std::vector<int32_t> ids = read_split(file, split);
    std::vector<uint8_t> mask(ids.size());
    file.read_loss_mask(split, 0, mask);
    std::string text;
    for (size_t i = 0; i < ids.size(); ++i) text += mask[i] ? character(ids[i]) : '_';
    return text;
  }

  TemporaryFolder folder;
};

TEST_F(LossMask, CoversResponsesAndTheirEnds) {
  write_text(folder / "a.jsonl",
             "{\"prompt\": \"1+1=\", \"response\": \"2\"}\n\n"
             "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"},"
             " {\"role\": \"assistant\", \"content\": \"Yo\"}]}\n");
  PrepareConfig all = config();
  all.val_fraction = 0;
  const PrepareSummary summary = run(all);
  EXPECT_EQ(trained_text(Split::train), "_____2|___Yo|");
  EXPECT_EQ(summary.train.documents, 2u);
  EXPECT_EQ(summary.train.tokens, 13u);
  EXPECT_EQ(summary.train.loss_tokens, 5u);
  EXPECT_EQ(summary.bytes, 9u);
}

TEST_F(LossMask, FollowsTheTokensThroughASplitAtTheTail) {
  run(config(SplitRule::tail));
  const std::string all = trained_text(Split::train) + trained_text(Split::val);
  PrepareConfig whole = config();
  whole.val_fraction = 0;
  run(whole);
  EXPECT_EQ(all, trained_text(Split::train));
}

// In every mode a target is there exactly where the token it names carries loss.
TEST_F(LossMask, DecidesTheTargetsOfBatches) {
  run(config());
  const auto check = [](const Batch& batch, bool document_mask) {
    int64_t targets = 0;
    for (size_t i = 0; i + 1 < batch.tokens.size(); ++i) {
      if ((i + 1) % size_t(batch.context) == 0) continue;  // its target is in no row
      const char next = character(batch.tokens[i + 1]);
      const bool response = next == 'A' || next == '.' || next == kEnd;
      const bool ends = document_mask && character(batch.tokens[i]) == kEnd;
      ASSERT_EQ(batch.targets[i], response && !ends ? batch.tokens[i + 1] : kIgnoreTarget) << i;
      targets += response;
    }
    EXPECT_GT(targets, 0);
  };
  for (const bool pack : {false, true}) {
    for (const bool document_mask : {false, true}) {
      Loader loader({.files = {{folder / "out.h5"}},
                     .context = 13,
                     .pack = pack,
                     .document_mask = document_mask,
                     .samples_per_step = 4});
      for (int step = 0; step < 10; ++step) check(loader.next(), document_mask);
      EvaluationReader reader({.files = {folder / "out.h5"},
                               .context = 13,
                               .document_mask = document_mask,
                               .batch = 2});
      Batch batch;
      ASSERT_TRUE(reader.next(batch));
      check(batch, document_mask);
    }
  }
}

TEST_F(LossMask, FilesWithoutOneCountEveryToken) {
  write_token_file(folder / "plain.h5", 100, {{1, 2, 3}});
  TokenFile file(folder / "plain.h5");
  EXPECT_FALSE(file.has_loss_mask(Split::train));
  std::vector<uint8_t> mask(3, 0);
  file.read_loss_mask(Split::train, 0, mask);
  EXPECT_EQ(mask, (std::vector<uint8_t>{1, 1, 1}));
}

TEST_F(LossMask, DamagedOnesAreRefused) {
  run(config());
  const auto replace = [&](std::vector<uint8_t> values) {
    const hdf5::Handle file(H5Fopen((folder / "out.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    H5Ldelete(file.get(), "val/loss_mask", H5P_DEFAULT);
    const hsize_t size = values.size();
    const hdf5::Handle space(H5Screate_simple(1, &size, nullptr));
    const hdf5::Handle set(H5Dcreate2(file.get(), "val/loss_mask", H5T_STD_U8LE, space.get(),
                                      H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Dwrite(set.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  };
  const uint64_t tokens = TokenFile(folder / "out.h5").token_count(Split::val);
  replace(std::vector<uint8_t>(tokens, 2));
  const auto read = [&] {
    std::vector<uint8_t> mask(1);
    TokenFile(folder / "out.h5").read_loss_mask(Split::val, 3, mask);
  };
  EXPECT_TRUE(contains(error_of(read), "val/loss_mask[3] is 2, neither 0 nor 1"));
  replace({1});
  EXPECT_TRUE(
      contains(error_of(read), fmt::format("val/loss_mask has 1 elements for {} tokens", tokens)));
}

TEST_F(LossMask, BadConversationsAreNamedByFileAndLine) {
  write_text(folder / "a.jsonl",
             "{\"prompt\": \"x\", \"response\": \"y\"}\n{\"prompt\": \"x\", \"response\": \"\"}\n");
  EXPECT_TRUE(contains(error(), "a.jsonl:2: message 2 (assistant) is empty"));
  write_text(folder / "a.jsonl", "{\"text\": \"x\"}\n");
  EXPECT_TRUE(contains(error(), "a.jsonl:1: the line has neither"));
  PrepareConfig wrong = config();
  write_text(folder / "a.txt", "x");
  wrong.corpus.inputs = {(folder / "a.txt").string()};
  EXPECT_TRUE(contains(error_of([&] { run(wrong); }), ".jsonl files, one a line"));
  wrong = config();
  wrong.instruction->chat_template = "chatml";
  write_text(folder / "a.jsonl", "{\"prompt\": \"x\", \"response\": \"y\"}\n");
  EXPECT_TRUE(contains(error_of([&] { run(wrong); }), "<|im_start|>, which tokenizer byte"));
  wrong.instruction->chat_template = "plain";
  wrong.tokenizer = "char";
  EXPECT_TRUE(contains(error_of([&] { run(wrong); }), "tokenizer char has none"));
}

}  // namespace
}  // namespace tessera
