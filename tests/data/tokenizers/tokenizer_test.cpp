#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include "core/random.h"
#include "data/utf8.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

using test::contains;
using test::error_of;

TextSource text_source(std::string text) {
  return [text](const TextVisitor& visitor) { visitor({.bytes = text}); };
}

std::string random_bytes(size_t size) {
  const Philox random(7, purpose_id("test/bytes"), 0);
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes.push_back(char(random.bits(i) & 0xFF));
  return bytes;
}

TEST(Utf8, EveryCodePointRoundTripsAndNothingElseIsValid) {
  for (uint32_t c = 0; c <= kMaxCodePoint; ++c) {
    std::string bytes;
    append_utf8(c, bytes);
    const Utf8Sequence got = first_utf8(bytes);
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    ASSERT_EQ(got.kind == Utf8Sequence::Kind::valid, !surrogate) << c;
    if (surrogate) continue;
    ASSERT_EQ(got.code_point, c);
    ASSERT_EQ(got.length, bytes.size());
    for (size_t cut = 1; cut < bytes.size(); ++cut) {
      ASSERT_EQ(first_utf8(bytes.substr(0, cut)).kind, Utf8Sequence::Kind::incomplete) << c;
    }
  }
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE2\x28\xA1"}) {
    EXPECT_EQ(first_utf8(bad).kind, Utf8Sequence::Kind::invalid) << bad;
  }
}

TEST(ByteTokenizer, RoundTripsArbitraryBytes) {
  const auto tokenizer = create_tokenizer("byte", text_source(""));
  const std::string bytes = random_bytes(10000);
  const std::vector<TokenId> ids = tokenizer->encode(bytes);
  ASSERT_EQ(ids.size(), bytes.size());
  EXPECT_EQ(ids[0], uint8_t(bytes[0]));
  EXPECT_EQ(tokenizer->decode(ids), bytes);
  EXPECT_EQ(tokenizer->vocabulary_size(), 257u);
  EXPECT_EQ(tokenizer->separator(), 256u);
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{256}), "");
  EXPECT_TRUE(contains(error_of([&] { tokenizer->decode(std::vector<TokenId>{257}); }), "257"));
}

TEST(CharTokenizer, IdsAreRanksOfSortedCodePoints) {
  const auto tokenizer = create_tokenizer("char", text_source("b\na\U0001F600é\nb"));
  EXPECT_EQ(tokenizer->vocabulary_size(), 5u);
  EXPECT_EQ(tokenizer->encode("\nabé\U0001F600"), (std::vector<TokenId>{0, 1, 2, 3, 4}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{4, 3, 0}), "\U0001F600é\n");
  EXPECT_EQ(tokenizer->separator(), std::nullopt);
}

TEST(CharTokenizer, LeavesACutSequenceToTheNextPart) {
  const std::string text = "aé\U0001F600z";
  const auto tokenizer = create_tokenizer("char", text_source(text));
  const std::vector<TokenId> whole = tokenizer->encode(text);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    std::vector<TokenId> ids;
    const std::string_view all = text;
    const size_t used = tokenizer->encode({.bytes = all.substr(0, cut), .last = false}, ids);
    ASSERT_LE(used, cut);
    tokenizer->encode({.bytes = all.substr(used), .offset = used}, ids);
    EXPECT_EQ(ids, whole) << "cut at " << cut;
  }
}

TEST(CharTokenizer, NamesWhatItCannotEncode) {
  const auto tokenizer = create_tokenizer("char", text_source("ab"));
  const std::string unknown = error_of([&] {
    std::vector<TokenId> ids;
    tokenizer->encode({.bytes = "abé", .offset = 100}, ids);
  });
  EXPECT_TRUE(contains(unknown, "U+00E9 'é' at byte 102"));
  const std::string invalid = error_of([&] { tokenizer->encode("ab\xFFz"); });
  EXPECT_TRUE(contains(invalid, "invalid UTF-8 at byte 2 (0xFF)"));
  EXPECT_TRUE(contains(error_of([&] { tokenizer->encode("ab\xE2\x82"); }), "at byte 2"));
  EXPECT_TRUE(
      contains(error_of([&] { create_tokenizer("char", text_source("\xC3(")); }), "byte 0"));
  EXPECT_TRUE(contains(error_of([&] { create_tokenizer("char", text_source("")); }), "no text"));
}

TEST(Tokenizer, RestoresFromItsJson) {
  for (const std::string& name : tokenizer_names()) {
    const std::string text = "quote \" backslash \\ tab \t nul " + std::string(1, '\0') + " é\n";
    const auto tokenizer = create_tokenizer(name, text_source(text));
    const auto restored = restore_tokenizer(tokenizer->to_json(), "file.h5");
    EXPECT_EQ(restored->name(), name);
    EXPECT_EQ(restored->hash(), tokenizer->hash());
    EXPECT_EQ(restored->vocabulary_size(), tokenizer->vocabulary_size());
    EXPECT_EQ(restored->encode(text), tokenizer->encode(text));
  }
}

TEST(Tokenizer, HashIsStableAndTellsVocabulariesApart) {
  EXPECT_EQ(create_tokenizer("byte", text_source(""))->hash(), "0e7ba051dc3d1946");
  EXPECT_NE(create_tokenizer("char", text_source("ab"))->hash(),
            create_tokenizer("char", text_source("ac"))->hash());
}

TEST(Tokenizer, DamagedJsonIsAnErrorThatNamesTheFile) {
  for (const char* json :
       {"", "{", "[]", "{}", R"({"tokenizer":7})", R"({"tokenizer":"morse"})",
        R"({"tokenizer":"char"})", R"({"tokenizer":"char","vocabulary":""})",
        R"({"tokenizer":"char","vocabulary":"ba"})", R"({"tokenizer":"char","vocabulary":[1]})"}) {
    EXPECT_TRUE(contains(error_of([&] { restore_tokenizer(json, "run/f.h5"); }), "run/f.h5: "))
        << json;
  }
  EXPECT_TRUE(contains(error_of([&] { create_tokenizer("bpe", text_source("")); }),
                       "unknown tokenizer 'bpe'; known are: byte, char"));
}

TEST(StreamDecoder, EmitsWholeSequencesOnly) {
  const auto tokenizer = create_tokenizer("byte", text_source(""));
  StreamDecoder decoder(*tokenizer);
  std::string text;
  std::vector<std::string> steps;
  for (TokenId id : tokenizer->encode("aé\U0001F600")) steps.push_back(decoder.push(id));
  EXPECT_EQ(steps, (std::vector<std::string>{"a", "", "é", "", "", "", "\U0001F600"}));
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, ReplacesWhatIsNotUtf8) {
  const auto tokenizer = create_tokenizer("byte", text_source(""));
  StreamDecoder decoder(*tokenizer);
  std::string text;
  for (TokenId id : tokenizer->encode("a\xFF\xE2\x82z\xF0\x9F")) text += decoder.push(id);
  EXPECT_EQ(text, "a\uFFFD\uFFFDz");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, AlwaysGivesValidUtf8) {
  const auto tokenizer = create_tokenizer("byte", text_source(""));
  StreamDecoder decoder(*tokenizer);
  std::string text;
  for (TokenId id : tokenizer->encode(random_bytes(20000))) text += decoder.push(id);
  text += decoder.finish();
  for (std::string_view rest = text; !rest.empty();) {
    const Utf8Sequence next = first_utf8(rest);
    ASSERT_EQ(next.kind, Utf8Sequence::Kind::valid);
    rest.remove_prefix(next.length);
  }
}

}  // namespace
}  // namespace tessera
