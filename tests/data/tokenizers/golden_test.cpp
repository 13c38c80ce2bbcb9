// Ids equal to those of the reference libraries, for small tokenizers with the rules of published
// ones (tests/golden/make_tokenizers.py makes them), and for what the same texts touch of GPT-2's
// and Qwen2's own (make_published.py).
#include <gtest/gtest.h>

#include <array>
#include <nlohmann/json.hpp>

#include "core/files/file.h"
#include "core/random.h"
#include "data/tokenizer.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

const std::filesystem::path kFolder = TESSERA_GOLDEN_TOKENIZERS;

nlohmann::json read_golden(const char* name) {
  return nlohmann::json::parse(read_text_file(kFolder / name));
}

const nlohmann::json& texts() {
  static const nlohmann::json json = read_golden("golden.json")["texts"];
  return json;
}

// "ids" or "decoded" of a tokenizer, by text.
const nlohmann::json& expected(const char* what, std::string_view tokenizer) {
  static const nlohmann::json own = read_golden("golden.json");
  static const nlohmann::json published = read_golden("published.json");
  return (tokenizer.starts_with("published_") ? published : own)[what][tokenizer];
}

class GoldenTokenizer : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(kFolder / GetParam());
};

TEST_P(GoldenTokenizer, GivesTheIdsOfTheReference) {
  const auto& ids = expected("ids", GetParam());
  ASSERT_EQ(texts().size(), ids.size());
  ASSERT_GT(texts().size(), 80u);
  for (size_t i = 0; i < texts().size(); ++i) {
    const auto text = texts()[i].get<std::string>();
    EXPECT_EQ(tokenizer->encode(text), ids[i].get<std::vector<TokenId>>()) << texts()[i];
  }
}

TEST_P(GoldenTokenizer, DecodesAsTheReference) {
  const auto& ids = expected("ids", GetParam());
  const auto& decoded = expected("decoded", GetParam());  // null where it is the text
  for (size_t i = 0; i < texts().size(); ++i) {
    const auto text = texts()[i].get<std::string>();
    const auto result = (decoded[i].is_null() ? texts()[i] : decoded[i]).get<std::string>();
    // The reference takes the characters of added tokens for bytes, and unigram models strip every
    // mark at the beginning, also those of the text.
    if (result.find("<norm") < result.size() || text.starts_with("\u2581")) continue;
    const auto document = ids[i].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer->decode(document), result) << texts()[i];
    StreamDecoder stream(*tokenizer);
    std::string streamed;
    for (TokenId id : document) streamed += stream.push(id);
    EXPECT_EQ(streamed + stream.finish(), result) << texts()[i];
  }
}

// The texts in a long row, with bytes that are not UTF-8 between them.
std::string long_document() {
  const Philox random(3, purpose_id("test/document"), 0);
  std::string document;
  for (uint64_t i = 0; document.size() < 300'000; ++i) {
    document += texts()[random.bits(2 * i) % texts().size()].get<std::string>();
    document += std::array{" ", "\n", " word ", "\xFF\xC3", "a\xE2\x82 ", " the\nend", "", "."}
        [random.bits(2 * i + 1) % 8];
  }
  return document;
}

// Parts, and blocks on several cores, must not show in the ids.
TEST_P(GoldenTokenizer, PartsGiveTheIdsOfTheWhole) {
  const std::string document = long_document();
  const std::string_view all = document;
  // A block at a time is one thread's work; below 64 KiB there is one block.
  const std::vector<TokenId> whole = tokenizer->encode(document);
  for (size_t step : {999, 10'007, 70'001}) {
    std::vector<TokenId> ids;
    size_t done = 0;
    for (size_t end = step; done < all.size(); end += step) {
      const bool last = end >= all.size();
      done += tokenizer->encode(
          {.bytes = all.substr(done, last ? all.npos : end - done), .offset = done, .last = last},
          ids);
      ASSERT_LE(done, end);
    }
    EXPECT_EQ(ids, whole) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTokenizer,
                         ::testing::Values("gpt2.json", "llama3.json", "qwen2.json", "smollm2.json",
                                           "added.json", "llama2.json", "metaspace.json",
                                           "sp_bpe.model", "sp_unigram.model",
                                           "published_gpt2.json", "published_qwen2.json"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace tessera
