// Where a text may be cut so that its pieces, encoded one by one, give the ids of the whole.
//
// Every splitting rule that we know begins a new word at a space (some also at a line feed and a
// comma) that follows a letter or an ASCII digit, looks at nothing beyond it to end the word
// before, and at nothing before it to go on. Unicode normalization never joins across the two
// characters, and letters that it turns into something else are left out.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace tessera {

struct CutRule {
  // Before ' ', '\n' and ',' after a letter or a digit.
  bool at_space = false;
  bool at_line_feed = false;
  bool at_comma = false;

  static constexpr size_t kNone = std::string_view::npos;
  // The first and the last place to cut `text` in [from, text.size()); kNone if there is none.
  size_t first(std::string_view text, size_t from) const;
  size_t last(std::string_view text, size_t from) const;

 private:
  bool is_empty() const { return !at_space && !at_line_feed && !at_comma; }
  bool allows(std::string_view text, size_t at) const;
};

// Appends the ids of `block`, which begins a document or goes on with one.
using BlockEncoder =
    std::function<void(std::string_view block, bool begins, std::vector<TokenId>& ids)>;

// Tokenizer::encode() for encoders of whole texts: long texts are cut and encoded on all cores.
size_t encode_by_blocks(const TextPart& part, const CutRule& rule, const BlockEncoder& encode,
                        std::vector<TokenId>& ids);

}  // namespace tessera
