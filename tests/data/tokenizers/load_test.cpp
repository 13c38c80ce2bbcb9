// Tokenizers from files: what they say of themselves, and what is refused.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/files/file.h"
#include "core/random.h"
#include "data/tokenizers/bpe_trainer.h"
#include "data/tokenizers/normalizer.h"
#include "data/tokenizers/regex.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

using nlohmann::json;
using test::contains;
using test::error_of;
using test::write_text;
using TokenType = Vocabulary::TokenType;

const std::filesystem::path kFolder = TESSERA_GOLDEN_TOKENIZERS;

std::string random_bytes(size_t size) {
  const Philox random(7, purpose_id("test/bytes"), 0);
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes.push_back(char(random.bits(i) & 0xFF));
  return bytes;
}

TEST(LoadTokenizer, ArbitraryBytesRoundTrip) {
  const std::string bytes = random_bytes(200'000) + std::string(3, '\0') + "\xF0\x9F";
  for (const char* name : {"gpt2.json", "llama3.json", "smollm2.json", "llama2.json",
                           "metaspace.json", "sp_bpe.model"}) {
    const auto tokenizer = load_tokenizer(kFolder / name);
    EXPECT_TRUE(tokenizer->encodes_everything());
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(bytes)), bytes) << name;
  }
}

TEST(LoadTokenizer, EveryByteAndPairOfBytesRoundTrips) {
  const auto bpe = load_tokenizer(kFolder / "llama3.json");
  const auto sentencepiece = load_tokenizer(kFolder / "sp_bpe.model");
  for (int pair = 0; pair < 0x10000; ++pair) {
    const std::string bytes{char(pair >> 8), char(pair & 0xFF)};
    ASSERT_EQ(bpe->decode(bpe->encode(bytes)), bytes) << pair;
    if (pair % 16 != 0) continue;
    ASSERT_EQ(sentencepiece->decode(sentencepiece->encode(bytes)), bytes) << pair;
  }
}

TEST(LoadTokenizer, RestoresFromItsJson) {
  for (const char* name : {"llama3.json", "llama2.json", "sp_bpe.model", "sp_unigram.model"}) {
    const auto tokenizer = load_tokenizer(kFolder / name);
    const auto restored = restore_tokenizer(tokenizer->to_json(), "f.h5");
    EXPECT_EQ(restored->hash(), tokenizer->hash());
    EXPECT_EQ(restored->encode("Some text 12"), tokenizer->encode("Some text 12"));
    EXPECT_EQ(restored->begin_of_sequence(), tokenizer->begin_of_sequence());
    EXPECT_EQ(restored->separator(), tokenizer->separator());
  }
}

TEST(LoadTokenizer, KnowsTheTokensAroundAText) {
  const auto gpt2 = load_tokenizer(kFolder / "gpt2.json");
  EXPECT_EQ(gpt2->separator(), 0u);
  EXPECT_EQ(gpt2->begin_of_sequence(), std::nullopt);
  const auto llama3 = load_tokenizer(kFolder / "llama3.json");  // its template has the first token
  EXPECT_EQ(llama3->begin_of_sequence(), 0u);
  EXPECT_EQ(llama3->end_of_sequence(), 1u);
  const auto llama2 = load_tokenizer(kFolder / "sp_bpe.model");
  EXPECT_EQ(llama2->begin_of_sequence(), 1u);
  EXPECT_EQ(llama2->separator(), 2u);
}

TEST(LoadTokenizer, ConfigBesideItNamesThem) {
  test::TemporaryFolder folder;
  write_text(folder / "m/tokenizer.json", read_text_file(kFolder / "qwen2.json"));
  write_text(folder / "m/tokenizer_config.json",
             R"({"bos_token": null, "eos_token": {"content": "<|im_end|>"}, "more": 1})");
  const auto tokenizer = load_tokenizer(folder / "m");
  EXPECT_EQ(tokenizer->separator(), 2u);
  EXPECT_EQ(tokenizer->begin_of_sequence(), std::nullopt);
  const auto files = tokenizer->published_files();
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].name, "tokenizer.json");
  EXPECT_EQ(files[0].contents, read_text_file(kFolder / "qwen2.json"));
  EXPECT_EQ(files[1].contents, read_text_file(folder / "m/tokenizer_config.json"));
  EXPECT_EQ(restore_tokenizer(tokenizer->to_json(), "f")->separator(), 2u);
}

TEST(LoadTokenizer, PublishesSentencePieceModels) {
  test::TemporaryFolder folder;
  const auto tokenizer = load_tokenizer(kFolder / "sp_bpe.model");
  for (const TextFile& file : tokenizer->published_files()) {
    write_text(folder / file.name, file.contents);
  }
  const auto config = json::parse(read_text_file(folder / "tokenizer_config.json"));
  EXPECT_EQ(config.at("bos_token"), "<s>");
  EXPECT_EQ(config.at("add_bos_token"), true);
  EXPECT_EQ(load_tokenizer(folder.path())->encode("Some text"), tokenizer->encode("Some text"));
}

// A field of a protobuf message that holds bytes: up to 127 of them.
std::string field(const std::string& key, const std::string& bytes) {
  return key + char(bytes.size()) + bytes;
}

// The library compares a model's own examples (SelfTestData, field 4) when it loads one.
TEST(LoadTokenizer, SentencePieceModelsMayHaveExamples) {
  const std::string model = read_text_file(kFolder / "sp_bpe.model");
  const auto plain = load_tokenizer(kFolder / "sp_bpe.model");
  const Vocabulary vocabulary = *plain->vocabulary();
  std::string pieces;
  for (TokenId id : plain->encode("Some text")) {
    pieces += (pieces.empty() ? "" : " ") + vocabulary.tokens[id].text;
  }
  test::TemporaryFolder folder;
  const std::string example = field("\x0A", "Some text") + field("\x12", pieces);
  write_text(folder / "m.model", model + field("\x22", field("\x0A", example)));
  const auto tokenizer = load_tokenizer(folder / "m.model");
  EXPECT_EQ(tokenizer->encode("Some text"), plain->encode("Some text"));
  EXPECT_EQ(tokenizer->published_files()[0].contents, read_text_file(folder / "m.model"));
}

// Whatever the trainer's settings (field 2) say that it is called (field 45).
TEST(LoadTokenizer, TheUnknownPieceIsTheOneOfThatType) {
  const std::string model = read_text_file(kFolder / "sp_bpe.model");
  const Vocabulary vocabulary = *load_tokenizer(kFolder / "sp_bpe.model")->vocabulary();
  test::TemporaryFolder folder;
  write_text(folder / "m.model",
             model + field("\x12", field("\xEA\x02", vocabulary.tokens[300].text)));
  const auto tokenizer = load_tokenizer(folder / "m.model");
  EXPECT_EQ(tokenizer->vocabulary()->unknown, 0u);
  const auto config = json::parse(tokenizer->published_files()[1].contents);
  EXPECT_EQ(config.at("unk_token"), "<unk>");
}

TEST(LoadTokenizer, TellsItsVocabulary) {
  const Vocabulary bpe = *load_tokenizer(kFolder / "llama3.json")->vocabulary();
  EXPECT_EQ(bpe.kind, Vocabulary::Kind::byte_level_bpe);
  EXPECT_EQ(bpe.pre_tokenizer, "llama-bpe");
  EXPECT_EQ(bpe.tokens[0].type, TokenType::control);
  EXPECT_EQ(bpe.tokens[2].text, "!");
  const std::string& first = bpe.merges.at(0);
  const size_t space = first.find(' ');
  EXPECT_EQ(bpe.tokens[258].text, first.substr(0, space) + first.substr(space + 1));
  EXPECT_TRUE(bpe.add_begin_of_sequence);
  EXPECT_EQ(load_tokenizer(kFolder / "gpt2.json")->vocabulary()->pre_tokenizer, "gpt-2");
  EXPECT_EQ(load_tokenizer(kFolder / "qwen2.json")->vocabulary()->pre_tokenizer, "qwen2");
  EXPECT_EQ(load_tokenizer(kFolder / "smollm2.json")->vocabulary()->pre_tokenizer, "smollm");

  const Vocabulary pieces = *load_tokenizer(kFolder / "sp_bpe.model")->vocabulary();
  EXPECT_EQ(pieces.kind, Vocabulary::Kind::sentencepiece_bpe);
  EXPECT_EQ(pieces.tokens[0].type, TokenType::unknown);
  EXPECT_EQ(pieces.tokens[1].type, TokenType::control);
  EXPECT_EQ(pieces.tokens[3].text, "<0x00>");
  EXPECT_EQ(pieces.tokens[3].type, TokenType::byte);
  EXPECT_EQ(pieces.tokens[259].type, TokenType::normal);
  EXPECT_TRUE(pieces.add_space_prefix);
  EXPECT_EQ(load_tokenizer(kFolder / "sp_unigram.model")->vocabulary()->kind,
            Vocabulary::Kind::sentencepiece_unigram);
}

class BadTokenizer : public ::testing::Test {
 protected:
  // The error of the file with the value at `pointer` replaced.
  std::string error_with(const char* pointer, const json& value) {
    json file = json::parse(read_text_file(kFolder / "gpt2.json"));
    file[json::json_pointer(pointer)] = value;
    return error_of_file(file);
  }

  std::string error_of_file(const json& file) {
    write_text(folder / "tokenizer.json", file.dump());
    const std::string error = error_of([&] { load_tokenizer(folder.path()); });
    EXPECT_TRUE(contains(error, "tokenizer.json: "));
    EXPECT_EQ(error.find('\n'), std::string::npos);
    return error;
  }

  test::TemporaryFolder folder;
};

TEST_F(BadTokenizer, NamesTheKey) {
  EXPECT_TRUE(contains(error_with("/model/type", "WordPiece"), "model.type 'WordPiece'"));
  EXPECT_TRUE(contains(error_with("/model/vocab/a", -1), "model.vocab.a"));
  EXPECT_TRUE(contains(error_with("/model/vocab/a", 99999), "has id 99999"));
  EXPECT_TRUE(contains(error_with("/model/vocab/a", 5), "have the same id, 5"));
  EXPECT_TRUE(contains(error_with("/model/merges/3", "a b c"), "model.merges[3]"));
  EXPECT_TRUE(contains(error_with("/model/merges/3", "zz a"), "'zz' is not in model.vocab"));
  EXPECT_TRUE(contains(error_with("/model/dropout", 0.1), "model.dropout"));
  EXPECT_TRUE(contains(error_with("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix"));
  EXPECT_TRUE(contains(error_with("/normalizer", {{"type", "Precompiled"}}), "'Precompiled'"));
  EXPECT_TRUE(contains(error_with("/pre_tokenizer", {{"type", "Split"}}), "pre_tokenizer.pattern"));
  EXPECT_TRUE(contains(error_with("/decoder/type", "CTC"), "decoder 'CTC'"));
  EXPECT_TRUE(contains(error_with("/post_processor", {{"type", "BertProcessing"}}), "'BertPro"));
  EXPECT_TRUE(contains(error_with("/added_tokens/0/id", "0"), "added_tokens[0].id"));
  const json split = {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
  EXPECT_TRUE(contains(error_with("/pre_tokenizer", split), "the pattern '(a' is not supported"));
}

// Ids need not be dense; one that nothing has is beside the end or between two others.
TEST_F(BadTokenizer, ATemplateNamesATokenThatExists) {
  json file = json::parse(read_text_file(kFolder / "llama3.json"));
  const size_t size = file["model"]["vocab"].size();
  file["model"]["vocab"]["far away"] = size + 100;
  const json::json_pointer begin(
      "/post_processor/processors/1/special_tokens/<|begin_of_text|>/ids/0");
  for (const size_t id : {size + 50, size + 101}) {
    file[begin] = id;
    EXPECT_TRUE(contains(error_of_file(file), fmt::format("names token {}, but no token", id)));
  }
}

TEST_F(BadTokenizer, ASpaceBeforeTheTextComesFirst) {
  const json digits = {{"type", "Digits"}, {"individual_digits", true}};
  const json metaspace = {
      {"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "always"}};
  for (const json& step : {json{{"type", "ByteLevel"}}, metaspace}) {
    const json steps = {{"type", "Sequence"}, {"pretokenizers", {digits, step}}};
    EXPECT_TRUE(contains(error_with("/pre_tokenizer", steps),
                         "pre_tokenizer.pretokenizers[1]: " + step["type"].get<std::string>() +
                             " puts a space before its text, which is supported in the first"));
  }
}

TEST_F(BadTokenizer, NamesTheFile) {
  EXPECT_TRUE(contains(error_of([&] { load_tokenizer(folder / "no"); }), "no does not exist"));
  EXPECT_TRUE(contains(error_of([&] { load_tokenizer(folder.path()); }), "has no tokenizer.json"));
  write_text(folder / "tokenizer.json", "{");
  EXPECT_TRUE(contains(error_of([&] { load_tokenizer(folder.path()); }), "tokenizer.json: "));
  write_text(folder / "x.model", "nonsense");
  EXPECT_TRUE(contains(error_of([&] { load_tokenizer(folder / "x.model"); }), "x.model: "));
  const std::string model = read_text_file(kFolder / "sp_bpe.model");
  write_text(folder / "x.model", model.substr(0, model.size() / 2));
  EXPECT_TRUE(contains(error_of([&] { load_tokenizer(folder / "x.model"); }), "truncated"));
}

TEST(Regex, ReadsOnigurumasSyntax) {
  EXPECT_EQ(to_pcre2(R"(\p{L}+| ?[^a\p{N}])"), R"(\p{L}+| ?[^a\p{N}])");
  EXPECT_EQ(to_pcre2(R"([]\]a])"), R"([]\]a])");
  const auto count = [](const char* pattern, const std::string& text) {
    int matches = 0;
    Regex(pattern).for_each_match(text, [&](size_t, size_t) { ++matches; });
    return matches;
  };
  // White space is Unicode's: NEL is, the Mongolian vowel separator is not.
  EXPECT_EQ(count(R"(\s)", "\u0085\u00A0\u2003\u3000\x0B\u180E\u200B"), 5);
  EXPECT_EQ(count(R"([^\s])", "\u0085\u00A0\u2003\u3000\x0B\u180E\u200B"), 2);
  EXPECT_EQ(count(R"(\S)", "a \u180E"), 2);
  EXPECT_EQ(count(R"((?i:'s))", "'s'S'\u017F"), 3);
  EXPECT_EQ(count(R"(\w)", "a\u0301_1\u2460"), 4);
  EXPECT_TRUE(contains(error_of([] { Regex(R"(\h)"); }), "\\h is not supported"));
  EXPECT_TRUE(contains(error_of([] { Regex("[a&&b]"); }), "sets within []"));
}

TEST(Regex, GivesUpOnPatternsThatTryTooMuch) {
  const Regex regex("(a+a+)+[bc]");
  EXPECT_TRUE(
      contains(error_of([&] { regex.for_each_match(std::string(40, 'a'), [](size_t, size_t) {}); }),
               "the pattern '(a+a+)+[bc]' fails"));
}

TEST(TrainBpe, MergesWhatOccursMost) {
  // "ab" 5 times, then "abc" 3 times; " d" alone is left with one.
  const TextSource corpus = [](const TextVisitor& visit) {
    visit({.bytes = "abc\nabc\nabc\nab\nab d"});
  };
  const auto tokenizer = train_bpe_tokenizer(1000, corpus);
  EXPECT_EQ(tokenizer->vocabulary_size(), 259u);
  EXPECT_EQ(tokenizer->vocabulary()->merges, (std::vector<std::string>{"a b", "ab c"}));
  EXPECT_EQ(tokenizer->encode("abc"), std::vector<TokenId>{258});
  EXPECT_EQ(tokenizer->separator(), 0u);
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{258, 0, 257}), "abcab");
  EXPECT_EQ(train_bpe(1000, corpus), tokenizer->published_files()[0].contents);
  EXPECT_EQ(train_bpe_tokenizer(258, corpus)->vocabulary_size(), 258u);
  EXPECT_TRUE(contains(error_of([&] { train_bpe(256, corpus); }), "256 ids is too small"));
  EXPECT_TRUE(contains(error_of([] { train_bpe(300, [](const TextVisitor&) {}); }), "no text"));
}

}  // namespace
}  // namespace tessera
