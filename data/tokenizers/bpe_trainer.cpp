#include "data/tokenizers/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <queue>
#include <unordered_map>

#include "core/check.h"
#include "data/tokenizers/byte_alphabet.h"
#include "data/tokenizers/cuts.h"
#include "data/tokenizers/pre_tokenizer.h"
#include "data/tokenizers/word_cache.h"
#include "data/utf8.h"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr const char* kSeparator = "<|endoftext|>";
constexpr uint32_t kSmallestVocabulary = 257;

ordered_json pre_tokenizer_json() {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"},
             {"pattern", {{"Regex", patterns::kLlama3}}},
             {"behavior", "Isolated"},
             {"invert", false}},
            {{"type", "ByteLevel"},
             {"add_prefix_space", false},
             {"trim_offsets", true},
             {"use_regex", false}}}}};
}

struct Word {
  std::vector<TokenId> symbols;
  int64_t count;
};

struct WordCounts {
  std::unordered_map<std::string, int64_t> counts;
};

// How often each word occurs, in the order of their bytes.
std::vector<std::pair<std::string, int64_t>> count_words(const TextSource& corpus) {
  const nlohmann::json json = pre_tokenizer_json();
  const PreTokenizer splitter = parse_pre_tokenizer(JsonValue(json));
  Pool<WordCounts> pool;
  const BlockEncoder count = [&](std::string_view text, bool, std::vector<TokenId>&) {
    const auto words = pool.lend();
    while (!text.empty()) {
      const size_t valid = valid_utf8_prefix(text);
      if (valid > 0) {
        splitter.split(text.substr(0, valid), {},
                       [&](std::string_view word) { ++words->counts[std::string(word)]; });
      }
      text.remove_prefix(std::min(valid + 1, text.size()));
    }
  };
  const CutRule rule{.at_space = true, .at_line_feed = true, .at_comma = true};
  corpus([&](const TextPart& part) {
    std::vector<TokenId> none;
    return encode_by_blocks(part, rule, count, none);
  });
  std::unordered_map<std::string, int64_t> total;
  pool.for_each([&](WordCounts& part) {
    for (const auto& [word, times] : part.counts) total[word] += times;
  });
  std::vector<std::pair<std::string, int64_t>> sorted(total.begin(), total.end());
  std::ranges::sort(sorted);
  return sorted;
}

// Pairs of neighbours, how often they occur and where. The counts follow every merge.
class Pairs {
 public:
  explicit Pairs(std::vector<Word>& words) : words_(words) {
    for (uint32_t w = 0; w < words_.size(); ++w) {
      const auto& symbols = words_[w].symbols;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        add(symbols[i], symbols[i + 1], words_[w].count, w);
      }
    }
    for (const auto& [key, pair] : pairs_) queue_.push({pair.count, key});
  }

  struct Best {
    TokenId left = 0, right = 0;
    int64_t count = 0;  // 0 if there is none
  };

  // Of pairs that occur as often, the one of the lowest ids.
  Best best() {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const int64_t count = pairs_[top.key].count;
      if (count == top.count) return {TokenId(top.key >> 32), TokenId(top.key), count};
      if (count > 0) queue_.push({count, top.key});
    }
    return {};
  }

  void merge(const Best& pair, TokenId merged) {
    std::vector<uint32_t> where = std::move(pairs_[key_of(pair.left, pair.right)].words);
    std::ranges::sort(where);
    where.erase(std::unique(where.begin(), where.end()), where.end());
    changed_.clear();
    for (uint32_t w : where) merge_in(w, pair, merged);
    pairs_.erase(key_of(pair.left, pair.right));
    std::ranges::sort(changed_);
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (uint64_t key : changed_) {
      const auto found = pairs_.find(key);
      if (found != pairs_.end() && found->second.count > 0) queue_.push({found->second.count, key});
    }
  }

 private:
  struct Pair {
    int64_t count = 0;
    std::vector<uint32_t> words;  // a word may be there several times, or no longer have the pair
  };
  struct Candidate {
    int64_t count;  // when it was put there
    uint64_t key;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : key > other.key;
    }
  };

  static uint64_t key_of(TokenId left, TokenId right) { return uint64_t(left) << 32 | right; }

  void add(TokenId left, TokenId right, int64_t count, uint32_t word) {
    Pair& pair = pairs_[key_of(left, right)];
    pair.count += count;
    if (pair.words.empty() || pair.words.back() != word) pair.words.push_back(word);
  }

  void remove(TokenId left, TokenId right, int64_t count) {
    pairs_[key_of(left, right)].count -= count;
  }

  void merge_in(uint32_t w, const Best& pair, TokenId merged) {
    std::vector<TokenId>& symbols = words_[w].symbols;
    const int64_t count = words_[w].count;
    size_t kept = 0;
    for (size_t i = 0; i < symbols.size(); ++i) {
      const bool here =
          i + 1 < symbols.size() && symbols[i] == pair.left && symbols[i + 1] == pair.right;
      if (!here) {
        symbols[kept++] = symbols[i];
        continue;
      }
      if (kept > 0) {
        remove(symbols[kept - 1], pair.left, count);
        add(symbols[kept - 1], merged, count, w);
        changed_.push_back(key_of(symbols[kept - 1], merged));
      }
      if (i + 2 < symbols.size()) {
        remove(pair.right, symbols[i + 2], count);
        add(merged, symbols[i + 2], count, w);
        changed_.push_back(key_of(merged, symbols[i + 2]));
      }
      symbols[kept++] = merged;
      ++i;
    }
    symbols.resize(kept);
  }

  std::vector<Word>& words_;
  std::unordered_map<uint64_t, Pair> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<uint64_t> changed_;  // pairs that a merge made
};

// Tokens in the order of their ids: the separator, the bytes in the order of their characters.
std::vector<std::string> first_tokens(std::array<TokenId, 256>& byte_ids) {
  const ByteAlphabet alphabet;
  std::vector<std::pair<uint32_t, int>> bytes;
  for (int b = 0; b < 256; ++b) {
    bytes.emplace_back(first_utf8(alphabet.spell(std::string(1, char(b)))).code_point, b);
  }
  std::ranges::sort(bytes);
  std::vector<std::string> tokens{kSeparator};
  for (const auto& [character, byte] : bytes) {
    byte_ids[size_t(byte)] = TokenId(tokens.size());
    tokens.push_back(alphabet.spell(std::string(1, char(byte))));
  }
  return tokens;
}

std::string file_of(const std::vector<std::string>& tokens, const ordered_json& merges) {
  ordered_json vocabulary = ordered_json::object();
  // Appended, for an insertion looks for the key among all others.
  auto& entries = vocabulary.get_ref<ordered_json::object_t&>();
  for (size_t id = 0; id < tokens.size(); ++id) {
    entries.emplace_back(tokens[id], id);
  }
  ordered_json file{{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  file["added_tokens"] = ordered_json::array({{{"id", 0},
                                               {"content", kSeparator},
                                               {"single_word", false},
                                               {"lstrip", false},
                                               {"rstrip", false},
                                               {"normalized", false},
                                               {"special", true}}});
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = pre_tokenizer_json();
  file["post_processor"] = nullptr;
  file["decoder"] = {{"type", "ByteLevel"},
                     {"add_prefix_space", false},
                     {"trim_offsets", true},
                     {"use_regex", false}};
  file["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", false}};
  file["model"]["vocab"] = std::move(vocabulary);
  file["model"]["merges"] = merges;
  return file.dump(1) + "\n";
}

}  // namespace

std::string train_bpe(uint32_t vocabulary_size, const TextSource& corpus,
                      const LearningProgress& progress) {
  check(vocabulary_size >= kSmallestVocabulary,
        "a vocabulary of {} ids is too small: the bytes and the separator are {}", vocabulary_size,
        kSmallestVocabulary);
  std::array<TokenId, 256> byte_ids{};
  std::vector<std::string> tokens = first_tokens(byte_ids);
  std::vector<Word> words;
  for (const auto& [text, count] : count_words(corpus)) {
    words.push_back({.symbols = {}, .count = count});
    for (char c : text) words.back().symbols.push_back(byte_ids[uint8_t(c)]);
  }
  check(!words.empty(), "no text to learn a vocabulary from; every input is empty");
  Pairs pairs(words);
  ordered_json merges = ordered_json::array();
  while (tokens.size() < vocabulary_size) {
    const Pairs::Best best = pairs.best();
    if (best.count < 2) break;
    pairs.merge(best, TokenId(tokens.size()));
    merges.push_back(tokens[best.left] + " " + tokens[best.right]);
    tokens.push_back(tokens[best.left] + tokens[best.right]);
    progress(uint32_t(tokens.size()));
  }
  return file_of(tokens, merges);
}

}  // namespace tessera
