#include <nlohmann/json.hpp>

#include "core/check.h"
#include "data/tokenizers/kinds.h"
#include "data/utf8.h"

namespace tessera {
namespace {

// Calls visit(code point, its byte offset in the document) and returns the bytes used; a sequence
// that the part's end cuts is left for the next part.
template <class Visit>
size_t for_each_code_point(const TextPart& part, Visit&& visit) {
  size_t i = 0;
  while (i < part.bytes.size()) {
    const Utf8Sequence next = first_utf8(part.bytes.substr(i));
    if (next.kind == Utf8Sequence::Kind::incomplete && !part.last) break;
    if (next.kind != Utf8Sequence::Kind::valid) {
      throw TextError(
          fmt::format("invalid UTF-8 at byte {} (0x{:02X}); convert the text to UTF-8 or use the "
                      "byte tokenizer",
                      part.offset + i, uint8_t(part.bytes[i])));
    }
    visit(next.code_point, part.offset + i);
    i += next.length;
  }
  return i;
}

class CharTokenizer final : public Tokenizer {
 public:
  // `code_points` are distinct and ascending.
  explicit CharTokenizer(std::vector<uint32_t> code_points) : code_points_(std::move(code_points)) {
    ids_.assign(code_points_.back() + 1, kUnknown);
    for (size_t id = 0; id < code_points_.size(); ++id) ids_[code_points_[id]] = TokenId(id);
  }

  std::string name() const override { return "char"; }
  uint32_t vocabulary_size() const override { return uint32_t(code_points_.size()); }
  bool encodes_everything() const override { return false; }

  size_t encode(const TextPart& part, std::vector<TokenId>& ids) const override {
    return for_each_code_point(part, [&](uint32_t code_point, uint64_t offset) {
      const TokenId id = code_point < ids_.size() ? ids_[code_point] : kUnknown;
      if (id == kUnknown) fail_unknown(code_point, offset);
      ids.push_back(id);
    });
  }

  void decode(TokenId id, std::string& bytes) const override {
    check(id < vocabulary_size(), "token id {} is not below the character vocabulary's size, {}",
          id, vocabulary_size());
    append_utf8(code_points_[id], bytes);
  }

  std::string to_json() const override {
    std::string characters;
    for (uint32_t code_point : code_points_) append_utf8(code_point, characters);
    return nlohmann::json{{"tokenizer", name()}, {"vocabulary", characters}}.dump();
  }

 private:
  static constexpr TokenId kUnknown = ~TokenId{0};

  [[noreturn]] void fail_unknown(uint32_t code_point, uint64_t offset) const {
    std::string character;
    if (code_point >= 0x20 && code_point != 0x7F) append_utf8(code_point, character);
    throw TextError(fmt::format(
        "character U+{:04X} '{}' at byte {} is not among the {} characters of the vocabulary; "
        "use only characters of the text that it was learned from",
        code_point, character, offset, vocabulary_size()));
  }

  std::vector<uint32_t> code_points_;  // by id
  std::vector<TokenId> ids_;           // by code point
};

}  // namespace

std::unique_ptr<Tokenizer> create_char_tokenizer(const TextSource& corpus) {
  std::vector<bool> seen(kMaxCodePoint + 1);
  corpus([&](const TextPart& part) {
    return for_each_code_point(part,
                               [&](uint32_t code_point, uint64_t) { seen[code_point] = true; });
  });
  std::vector<uint32_t> code_points;
  for (uint32_t c = 0; c <= kMaxCodePoint; ++c) {
    if (seen[c]) code_points.push_back(c);
  }
  check(!code_points.empty(), "no text to learn a character vocabulary from; every input is empty");
  return std::make_unique<CharTokenizer>(std::move(code_points));
}

std::unique_ptr<Tokenizer> restore_char_tokenizer(const nlohmann::json& json) {
  const auto characters = json.at("vocabulary").get<std::string>();
  std::vector<uint32_t> code_points;
  for_each_code_point({.bytes = characters}, [&](uint32_t code_point, uint64_t offset) {
    check(code_points.empty() || code_points.back() < code_point,
          "the vocabulary's characters are not in ascending order at byte {}", offset);
    code_points.push_back(code_point);
  });
  check(!code_points.empty(), "the character vocabulary is empty");
  return std::make_unique<CharTokenizer>(std::move(code_points));
}

}  // namespace tessera
