// Tokenizer files that are cut, damaged or made up: an Error or a tokenizer that works, never a
// crash or an allocation out of proportion. TESSERA_HOSTILE_INPUTS sets how many are tried; to be
// run with -DTESSERA_SANITIZE=ON as well.
#include <gtest/gtest.h>
#include <malloc.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>

#include "core/files/file.h"
#include "core/random.h"
#include "data/tokenizer.h"
#include "tests/data/support.h"

namespace {

std::atomic<size_t> live_bytes{0}, peak_bytes{0};

void* counted_new(size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  const size_t now = live_bytes += malloc_usable_size(memory);
  if (now > peak_bytes) peak_bytes = now;
  return memory;
}

void counted_delete(void* memory) noexcept {
  if (memory != nullptr) live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

void* operator new(size_t size) {
  return counted_new(size);
}
void operator delete(void* memory) noexcept {
  counted_delete(memory);
}
void operator delete(void* memory, size_t) noexcept {
  counted_delete(memory);
}

namespace tessera {
namespace {

// What loading and encoding need besides the file: the word cache (4 MiB), the tables of libraries.
constexpr size_t kFixedBytes = size_t{8} << 20;
constexpr size_t kBytesPerByte = 120;

size_t input_count() {
  const char* given = std::getenv("TESSERA_HOSTILE_INPUTS");
  return given == nullptr ? 2000 : std::strtoull(given, nullptr, 10);
}

// A random number generator for one input.
class Dice {
 public:
  explicit Dice(uint64_t input) : random_(11, purpose_id("test/hostile"), uint32_t(input)) {}
  size_t below(size_t end) { return end == 0 ? 0 : random_.bits(next_++) % end; }

 private:
  Philox random_;
  uint64_t next_ = 0;
};

// Replaces the first run of `members` after a random place.
void replace_run(std::string& text, Dice& dice, std::string_view members, std::string_view with) {
  const size_t begin = text.find_first_of(members, dice.below(text.size()));
  if (begin == std::string::npos) return;
  const size_t end = std::min(text.find_first_not_of(members, begin), text.size());
  text.replace(begin, end - begin, with);
}

// Another string of the file in the place of one: keys, types, tokens.
void swap_strings(std::string& text, Dice& dice) {
  const auto quoted = [&](size_t from) {
    const size_t begin = std::min(text.find('"', from), text.size());
    const size_t end = std::min(text.find('"', begin + 1), text.size() - 1);
    return std::pair{begin, begin > end ? 0 : end + 1 - begin};
  };
  // Most structure is in the first part of the file.
  const size_t range = dice.below(2) == 0 ? std::min<size_t>(1500, text.size()) : text.size();
  const auto [from, length] = quoted(dice.below(range));
  const std::string other = text.substr(from, length);
  const auto [at, old_length] = quoted(dice.below(range));
  text.replace(at, old_length, other);
}

void mutate_once(std::string& text, Dice& dice) {
  constexpr std::array<std::string_view, 10> kNumbers{
      "-1",   "4294967295", "2147483647", "99999999999999999999", "1e308", "0", "null",
      "true", "[[[[[[[[",   "{\"a\":"};
  constexpr std::array<std::string_view, 10> kPattern{"(",  ")*", "+", "{9999}", "[^",
                                                      "\\", "|",  "?", "(?<=a)", "(a*)*b"};
  const size_t at = dice.below(text.size());
  switch (dice.below(8)) {
    case 0:
      return text.resize(at);
    case 1:
      for (size_t i = 0; i <= dice.below(8); ++i) {
        if (!text.empty()) text[dice.below(text.size())] ^= char(1 << dice.below(8));
      }
      return;
    case 2:
      return replace_run(text, dice, "0123456789", kNumbers[dice.below(kNumbers.size())]);
    case 3:
      return swap_strings(text, dice);
    case 4:
      text.erase(at, dice.below(64));
      return;
    case 5:
      text.insert(at, text.substr(dice.below(text.size()), dice.below(200)));
      return;
    case 6: {
      const size_t pattern = text.find("\"Regex\"");
      const size_t place = pattern == std::string::npos ? at : pattern + 10 + dice.below(100);
      text.insert(std::min(place, text.size()), kPattern[dice.below(kPattern.size())]);
      return;
    }
    default:
      for (size_t i = at; i < std::min(at + 1 + dice.below(8), text.size()); ++i) {
        text[i] = std::array{'\xFF', '\x80', '\0', '\x7F'}[dice.below(4)];
      }
  }
}

void use(const Tokenizer& tokenizer) {
  const std::string text =
      "Hello 123 <|endoftext|> w\xC3\xB6rld \xFF\xE2\x96\x81 aaaa <MASK>  x\n\n\t\xEF\xAC\x81";
  std::string bytes;
  for (TokenId id : tokenizer.encode(text)) {
    ASSERT_LT(id, tokenizer.vocabulary_size());
    tokenizer.decode(id, bytes);
  }
  ASSERT_FALSE(tokenizer.published_files().empty());
  const auto vocabulary = tokenizer.vocabulary();
  ASSERT_TRUE(vocabulary.has_value());
  ASSERT_EQ(vocabulary->tokens.size(), tokenizer.vocabulary_size());
  for (const auto id :
       {tokenizer.separator(), tokenizer.begin_of_sequence(), vocabulary->unknown}) {
    ASSERT_LT(id.value_or(0), tokenizer.vocabulary_size());
  }
}

TEST(HostileTokenizers, AreErrorsOrWork) {
  const std::filesystem::path folder = TESSERA_GOLDEN_TOKENIZERS;
  std::vector<std::pair<std::string, std::string>> files;
  for (const char* name : {"gpt2.json", "llama3.json", "qwen2.json", "smollm2.json", "added.json",
                           "llama2.json", "metaspace.json", "sp_bpe.model", "sp_unigram.model"}) {
    files.emplace_back(name, read_text_file(folder / name));
  }
  test::TemporaryFolder work;
  size_t loaded = 0;
  for (uint64_t input = 0; input < input_count(); ++input) {
    Dice dice(input);
    const auto& [name, original] = files[dice.below(files.size())];
    std::string text = original;
    for (size_t i = 0; i <= dice.below(3); ++i) mutate_once(text, dice);
    const std::filesystem::path path = work / name;
    test::write_text(path, text);
    const size_t before = live_bytes;
    peak_bytes = before;
    try {
      const auto tokenizer = load_tokenizer(path);
      ++loaded;
      use(*tokenizer);
      restore_tokenizer(tokenizer->to_json(), "itself");
    } catch (const Error& e) {
      const std::string_view message = e.what();
      ASSERT_TRUE(message.find(name) < message.size()) << "input " << input << ": " << message;
    }
    ASSERT_LE(peak_bytes - before, kFixedBytes + kBytesPerByte * text.size())
        << "input " << input << " of " << text.size() << " bytes, " << name;
  }
  // Both ways must be met, or the test would prove little.
  EXPECT_GT(loaded, input_count() / 50);
  EXPECT_LT(loaded, input_count() * 9 / 10);
}

}  // namespace
}  // namespace tessera
