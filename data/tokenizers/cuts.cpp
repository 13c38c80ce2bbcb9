#include "data/tokenizers/cuts.h"

#include <utf8proc.h>

#include <algorithm>

#include "data/parallel.h"
#include "data/utf8.h"

namespace tessera {
namespace {

// Much longer than what a thread costs to start, short enough to share a part of 1 MiB among many.
constexpr size_t kBlockBytes = size_t{1} << 16;

bool is_letter(uint32_t code_point) {
  const utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(code_point));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

// Whether the character that ends at `end` is a letter.
bool ends_with_letter(std::string_view text, size_t end) {
  const auto byte = [&](size_t i) { return uint8_t(text[i]); };
  if (end == 0) return false;
  if (byte(end - 1) < 0x80) {
    const uint8_t lower = byte(end - 1) | 0x20;
    return lower >= 'a' && lower <= 'z';
  }
  size_t start = end - 1;
  while (start > 0 && end - start < 4 && (byte(start) & 0xC0) == 0x80) --start;
  const Utf8Sequence last = first_utf8(text.substr(start, end - start));
  return last.kind == Utf8Sequence::Kind::valid && last.length == end - start &&
         is_letter(last.code_point);
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
  return ((text[at] == ' ' && at_space) || (text[at] == '\n' && at_line_feed)) &&
         ends_with_letter(text, at);
}

size_t CutRule::first(std::string_view text, size_t from) const {
  if (!at_space && !at_line_feed) return kNone;
  for (size_t at = std::max<size_t>(from, 1); at < text.size(); ++at) {
    if (allows(text, at)) return at;
  }
  return kNone;
}

size_t CutRule::last(std::string_view text, size_t from) const {
  if (!at_space && !at_line_feed) return kNone;
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
