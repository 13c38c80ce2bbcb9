// The "added_tokens" of a tokenizer.json: contents that become one id wherever they stand.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace tessera {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;             // not next to a word's characters
  bool lstrip = false, rstrip = false;  // takes the white space beside it
  bool normalized = false;              // looked for after normalization
  bool special = false;
};

class AddedTokenMatcher {
 public:
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // Calls visit(id, text) for each token found, and visit(nothing, text) for what lies between.
  using Visitor = std::function<void(std::optional<TokenId>, std::string_view text)>;
  void split(std::string_view text, const Visitor& visit) const;

 private:
  const AddedToken* longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;  // by content
  std::array<bool, 256> begins_{};  // bytes that a token begins with
};

}  // namespace tessera
