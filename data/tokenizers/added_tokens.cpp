#include "data/tokenizers/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "data/utf8.h"

namespace tessera {
namespace {

std::optional<uint32_t> first_character(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const Utf8Sequence next = first_utf8(text);
  if (next.kind != Utf8Sequence::Kind::valid) return std::nullopt;
  return next.code_point;
}

std::string_view last_bytes(std::string_view text) {
  size_t start = text.size();
  while (start > 0 && text.size() - start < 4) {
    if ((uint8_t(text[--start]) & 0xC0) != 0x80) break;
  }
  return text.substr(start);
}

// Unicode's \w: letters, marks, digits, connectors, joiners, and symbols that count as alphabetic
// (circled and squared letters).
bool is_word(std::optional<uint32_t> character) {
  if (!character) return false;
  const uint32_t c = *character;
  const utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(c));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
         category == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D ||
         (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

bool is_space(std::optional<uint32_t> character) {
  if (!character) return false;
  const uint32_t c = *character;
  return (c >= 9 && c <= 13) || c == 0x85 ||
         (utf8proc_category(utf8proc_int32_t(c)) >= UTF8PROC_CATEGORY_ZS &&
          utf8proc_category(utf8proc_int32_t(c)) <= UTF8PROC_CATEGORY_ZP);
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::ranges::sort(tokens_, {}, &AddedToken::content);
  for (const AddedToken& token : tokens_) begins_[uint8_t(token.content[0])] = true;
}

// Narrows the range of tokens that begin as the text does.
const AddedToken* AddedTokenMatcher::longest_at(std::string_view text) const {
  const AddedToken* longest = nullptr;
  auto first = tokens_.begin(), last = tokens_.end();
  for (size_t depth = 0; depth < text.size() && first != last; ++depth) {
    const auto byte_of = [&](const AddedToken& token) {
      return depth < token.content.size() ? int(uint8_t(token.content[depth])) : -1;
    };
    const int byte = uint8_t(text[depth]);
    first = std::partition_point(first, last, [&](const auto& t) { return byte_of(t) < byte; });
    last = std::partition_point(first, last, [&](const auto& t) { return byte_of(t) == byte; });
    if (first != last && first->content.size() == depth + 1) longest = &*first;
  }
  return longest;
}

void AddedTokenMatcher::split(std::string_view text, const Visitor& visit) const {
  size_t done = 0;
  for (size_t i = 0; i < text.size() && !tokens_.empty(); ++i) {
    if (!begins_[uint8_t(text[i])]) continue;
    const AddedToken* token = longest_at(text.substr(i));
    if (token == nullptr) continue;
    size_t begin = i, end = i + token->content.size();
    i = end - 1;
    if (token->single_word && (is_word(first_character(last_bytes(text.substr(0, begin)))) ||
                               is_word(first_character(text.substr(end))))) {
      continue;
    }
    while (token->lstrip && begin > done) {
      const std::string_view before = last_bytes(text.substr(0, begin));
      if (!is_space(first_character(before))) break;
      begin -= before.size();
    }
    while (token->rstrip && is_space(first_character(text.substr(end)))) {
      end += first_utf8(text.substr(end)).length;
    }
    begin = std::max(begin, done);
    if (done < begin) visit(std::nullopt, text.substr(done, begin - done));
    visit(token->id, text.substr(begin, std::max(end, begin) - begin));
    done = end;
  }
  if (done < text.size()) visit(std::nullopt, text.substr(done));
}

}  // namespace tessera
