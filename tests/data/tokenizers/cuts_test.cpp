// Where texts may be cut: the words on both sides are those of the whole.
#include "data/tokenizers/cuts.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/random.h"
#include "data/tokenizers/normalizer.h"
#include "data/tokenizers/pre_tokenizer.h"
#include "data/utf8.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr CutRule kAnywhere{.at_space = true, .at_line_feed = true, .at_comma = true};

// A splitting pattern that models publish, after a normalization ("" for none).
class Splitter {
 public:
  Splitter(const char* pattern, const std::string& form) {
    const json split = {
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
    splitter_ = parse_pre_tokenizer(JsonValue(split));
    const json normalizer = {{"type", form}};
    if (!form.empty()) normalizers_ = parse_normalizers(JsonValue(normalizer));
  }

  std::vector<std::string> words(std::string_view text) const {
    std::string normalized(text);
    for (const auto& step : normalizers_) normalized = step->apply(normalized, false);
    std::vector<std::string> words;
    splitter_.split(normalized, {}, [&](std::string_view word) { words.emplace_back(word); });
    return words;
  }

 private:
  PreTokenizer splitter_;
  std::vector<std::unique_ptr<Normalizer>> normalizers_;
};

// What patterns and normalizations look at: white space, contractions, marks, letters that
// decompose (U+0958 even by NFC) and characters that become other ones.
std::string random_text(const Philox& random, uint64_t draw) {
  constexpr std::u32string_view kCharacters =
      U"aesS''12  \n\n,,.-\t\r\u00B2\u00E9\u0130\u0301\u0958\u1112\u1161\u3000\u4E2D\uFE71\uFF0C";
  std::string text;
  for (uint64_t end = draw + 8; draw < end; ++draw) {
    append_utf8(kCharacters[random.bits(draw) % kCharacters.size()], text);
  }
  return text;
}

class Cuts : public ::testing::TestWithParam<const char*> {};

TEST_P(Cuts, BothSidesHaveTheWordsOfTheWhole) {
  const Philox random(5, purpose_id("test/cuts"), 0);
  size_t cuts = 0;
  for (const char* form : {"", "NFC", "NFD", "NFKC", "NFKD", "Lowercase"}) {
    const Splitter splitter(GetParam(), form);
    for (uint64_t draw = 0; draw < 160'000; draw += 8) {
      const std::string text = random_text(random, draw);
      const std::string_view all = text;
      size_t at = kAnywhere.first(all, 0);
      for (; at != CutRule::kNone; at = kAnywhere.first(all, at + 1), ++cuts) {
        std::vector<std::string> words = splitter.words(all.substr(0, at));
        const std::vector<std::string> rest = splitter.words(all.substr(at));
        words.insert(words.end(), rest.begin(), rest.end());
        ASSERT_EQ(json(words), json(splitter.words(all))) << form << " cut at " << at;
      }
    }
  }
  EXPECT_GT(cuts, 50'000u);
}

INSTANTIATE_TEST_SUITE_P(Patterns, Cuts,
                         ::testing::Values(patterns::kGpt2, patterns::kLlama3, patterns::kQwen2));

// As in tables: no letter is in sight, nor a space.
TEST(CutsOfTables, NumbersNeedNotBeKept) {
  std::string numbers;
  for (int i = 0; numbers.size() < 100'000; ++i) numbers += fmt::format("{},", i);
  for (const char* name : {"gpt2.json", "llama3.json", "qwen2.json", "smollm2.json"}) {
    const auto tokenizer = load_tokenizer(std::filesystem::path(TESSERA_GOLDEN_TOKENIZERS) / name);
    std::vector<TokenId> ids;
    const size_t used = tokenizer->encode({.bytes = numbers, .last = false}, ids);
    EXPECT_GT(used, numbers.size() - 16) << name;
  }
}

}  // namespace
}  // namespace tessera
