#include "data/tokenizers/cuts.h"

#include <utf8proc.h>

#include <algorithm>

#include "data/parallel.h"
#include "data/utf8.h"

namespace tessera {
namespace {

// Much longer than what a thread costs to start, short enough to share a part of 1 MiB among many.
constexpr size_t kBlockBytes = size_t{1} << 16;

// A letter that stays one, and the last character, whatever the normalization: some are decomposed
// (U+0958 even by NFC) and then end with a mark.
bool is_stable_letter(uint32_t code_point) {
  const utf8proc_property_t* property = utf8proc_get_property(utf8proc_int32_t(code_point));
  return property->category >= UTF8PROC_CATEGORY_LU && property->category <= UTF8PROC_CATEGORY_LO &&
         property->decomp_seqindex == UINT16_MAX;
}

// Whether the character that ends at `end` is a stable letter or an ASCII digit.
bool ends_with_letter_or_digit(std::string_view text, size_t end) {
  const auto byte = [&](size_t i) { return uint8_t(text[i]); };
  if (end == 0) return false;
  if (byte(end - 1) < 0x80) {
    const uint8_t lower = byte(end - 1) | 0x20;
    return (lower >= 'a' && lower <= 'z') || (byte(end - 1) >= '0' && byte(end - 1) <= '9');
  }
  size_t start = end - 1;
  while (start > 0 && end - start < 4 && (byte(start) & 0xC0) == 0x80) --start;
  const Utf8Sequence last = first_utf8(text.substr(start, end - start));
  return last.kind == Utf8Sequence::Kind::valid && last.length == end - start &&
         is_stable_letter(last.code_point);
}

std::vector<std::string_view> blocks_of(std::string_view text, const CutRule& rule) {
  std::vector<std::string_view> blocks;
  while (text.size() > kBlockBytes) {
    const size_t cut = rule.first(text, kBlockBytes);
    if (cut == CutRule::kNone) break;
    blocks.push_back(text.substr(0, cut));
    text.remove_prefix(cut);
  }
  blocks.push_back(text);
  return blocks;
}

void encode_blocks(const std::vector<std::string_view>& blocks, bool begins,
                   const BlockEncoder& encode, std::vector<TokenId>& ids) {
  std::vector<std::vector<TokenId>> parts(blocks.size());
  parallel_for_each(blocks.size(),
                    [&](size_t b) { encode(blocks[b], begins && b == 0, parts[b]); });
  for (const auto& part : parts) ids.insert(ids.end(), part.begin(), part.end());
}

}  // namespace

bool CutRule::allows(std::string_view text, size_t at) const {
  const char c = text[at];
  const bool here = c == ' ' ? at_space : c == '\n' ? at_line_feed : c == ',' && at_comma;
  return here && ends_with_letter_or_digit(text, at);
}

size_t CutRule::first(std::string_view text, size_t from) const {
  if (is_empty()) return kNone;
  for (size_t at = std::max<size_t>(from, 1); at < text.size(); ++at) {
    if (allows(text, at)) return at;
  }
  return kNone;
}

size_t CutRule::last(std::string_view text, size_t from) const {
  if (is_empty()) return kNone;
  for (size_t at = text.size(); at > std::max<size_t>(from, 1); --at) {
    if (allows(text, at - 1)) return at - 1;
  }
  return kNone;
}

size_t encode_by_blocks(const TextPart& part, const CutRule& rule, const BlockEncoder& encode,
                        std::vector<TokenId>& ids) {
  std::string_view text = part.bytes;
  if (!part.last) {
    const size_t cut = rule.last(text, 1);
    if (cut == CutRule::kNone) return 0;
    text = text.substr(0, cut);
  }
  if (text.empty()) return 0;
  if (text.size() <= kBlockBytes) {
    encode(text, part.offset == 0, ids);
  } else {
    encode_blocks(blocks_of(text, rule), part.offset == 0, encode, ids);
  }
  return text.size();
}

}  // namespace tessera
