#include "data/tokenizer.h"

#include <nlohmann/json.hpp>

#include "core/check.h"
#include "data/tokenizer_kinds.h"
#include "data/utf8.h"

namespace tessera {
namespace {

struct TokenizerKind {
  std::string_view name;
  std::unique_ptr<Tokenizer> (*create)(const TextSource& corpus);
  std::unique_ptr<Tokenizer> (*restore)(const nlohmann::json& json);
};

constexpr TokenizerKind kTokenizers[] = {
    {"byte", create_byte_tokenizer, restore_byte_tokenizer},
    {"char", create_char_tokenizer, restore_char_tokenizer},
};

const TokenizerKind& kind_named(std::string_view name) {
  for (const TokenizerKind& kind : kTokenizers) {
    if (kind.name == name) return kind;
  }
  fail("unknown tokenizer '{}'; known are: {}", name, fmt::join(tokenizer_names(), ", "));
}

// Appends the text of `bytes` to `out`, U+FFFD for what is not UTF-8, and returns how many bytes
// are left over: the beginning of a sequence that the end cuts.
size_t append_valid_utf8(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    const Utf8Sequence next = first_utf8(bytes);
    if (next.kind == Utf8Sequence::Kind::incomplete) break;
    if (next.kind == Utf8Sequence::Kind::valid) {
      out.append(bytes.substr(0, next.length));
    } else {
      append_utf8(0xFFFD, out);
    }
    bytes.remove_prefix(next.length);
  }
  return bytes.size();
}

}  // namespace

std::vector<TokenId> Tokenizer::encode(std::string_view document) const {
  std::vector<TokenId> ids;
  encode(TextPart{.bytes = document}, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string bytes;
  for (TokenId id : ids) decode(id, bytes);
  return bytes;
}

std::string Tokenizer::hash() const {
  uint64_t h = 14695981039346656037u;
  for (char c : to_json()) h = (h ^ uint8_t(c)) * 1099511628211u;
  return fmt::format("{:016x}", h);
}

std::string StreamDecoder::push(TokenId id) {
  tokenizer_.decode(id, pending_);
  std::string text;
  pending_.erase(0, pending_.size() - append_valid_utf8(pending_, text));
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  if (!pending_.empty()) append_utf8(0xFFFD, text);
  pending_.clear();
  return text;
}

std::vector<std::string> tokenizer_names() {
  std::vector<std::string> names;
  for (const TokenizerKind& kind : kTokenizers) names.emplace_back(kind.name);
  return names;
}

std::unique_ptr<Tokenizer> create_tokenizer(std::string_view name, const TextSource& corpus) {
  return kind_named(name).create(corpus);
}

std::unique_ptr<Tokenizer> restore_tokenizer(std::string_view json, std::string_view where) {
  try {
    const auto parsed = nlohmann::json::parse(json);
    return kind_named(parsed.at("tokenizer").get<std::string>()).restore(parsed);
  } catch (const nlohmann::json::exception& e) {
    fail("{}: the tokenizer's JSON is damaged: {}", where, e.what());
  } catch (const Error& e) {
    fail("{}: {}", where, e.what());
  }
}

}  // namespace tessera
