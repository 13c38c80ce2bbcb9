// How a conversation becomes tokens: the templates of Llama 3 and ChatML, and one without markers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/conversation.h"
#include "data/tokenizer.h"

namespace tessera {

// A row of the table in chat_template.cpp.
struct ChatForm;

// "llama3", "chatml", "plain".
std::vector<std::string> chat_template_names();

// llama3 and chatml mark turns and roles by special tokens, each of which must be one id of the
// tokenizer. plain lays the texts one after another, a newline after what is not the assistant's
// and the tokenizer's separator (or end-of-sequence token) after what is.
//
// Text of messages is only ever text: what looks like a special token in it is encoded as its
// characters, in two parts, so that no tokenizer takes it for the token. What a tokenizer's
// normalization turns into one is an error.
class ChatTemplate {
 public:
  // Throws Error for an unknown name and for a token that `tokenizer` lacks, with the remedy.
  // `tokenizer` must outlive the template.
  ChatTemplate(std::string_view name, const Tokenizer& tokenizer);

  // Appends the tokens of a whole conversation, and for each 1 where it carries loss: the texts of
  // the assistant and the token that ends its turn. Throws TextError for text that the tokenizer
  // cannot encode, or takes for a special token.
  void encode(const Conversation& conversation, std::vector<TokenId>& ids,
              std::vector<uint8_t>& mask) const;

  // Tokens that end where the assistant is to answer.
  std::vector<TokenId> prompt(const Conversation& conversation) const;
  // What the assistant ends its turn with.
  TokenId end_of_turn() const { return end_; }

 private:
  class Writer;

  TokenId required_token(const Vocabulary& vocabulary, const char* text) const;
  TokenId plain_end() const;
  void message(const Message& message, Writer& out) const;
  // Returns what comes before the text and may be encoded together with it.
  std::string header(Role role, Writer& out) const;

  const Tokenizer& tokenizer_;
  const ChatForm& form_;
  std::vector<std::string> specials_;  // texts that are not to be met in one part ...
  std::vector<TokenId> special_ids_;   // ... sorted, and what no text may become
  std::optional<TokenId> begin_, open_, close_;
  TokenId end_ = 0;
};

}  // namespace tessera
