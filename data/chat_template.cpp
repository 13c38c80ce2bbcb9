#include "data/chat_template.h"

#include <algorithm>

#include "core/check.h"
#include "data/utf8.h"

namespace tessera {

// A conversation is `begin`, then for each message: `open`, the role, `close`, `after_role`, the
// text, `end`, `after_turn`. Null: the template has no such token.
struct ChatForm {
  const char* name;
  const char *begin, *open, *close;
  const char* after_role;
  const char* end;
  const char* after_turn;
  bool strip;  // white space around a message's text
};

namespace {

// llama3: "Llama 3 Model Card and Prompt Formats"; its reference strips messages, too. chatml: as
// Qwen2 and SmolLM2 write it. plain: `end` is the tokenizer's own.
constexpr ChatForm kForms[] = {
    {"llama3", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "\n\n",
     "<|eot_id|>", "", true},
    {"chatml", nullptr, "<|im_start|>", nullptr, "\n", "<|im_end|>", "\n", false},
    {"plain", nullptr, nullptr, nullptr, "", nullptr, "", false}};

const ChatForm& form_named(std::string_view name) {
  const auto found = std::ranges::find(kForms, name, &ChatForm::name);
  check(found != std::end(kForms), "there is no chat template '{}'; choose one of {}", name,
        fmt::join(chat_template_names(), ", "));
  return *found;
}

// White space to Python, whose strip() and Jinja's trim the references use.
bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::string_view stripped(std::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Sequence next = first_utf8(text.substr(at));
    const bool space = next.kind == Utf8Sequence::Kind::valid && is_space(next.code_point);
    if (!space) begin = std::min(begin, at);
    at += next.length;
    if (!space) end = at;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

bool is_special(const Vocabulary::Token& token) {
  using enum Vocabulary::TokenType;
  return (token.type == control || token.type == user_defined) && !token.text.empty();
}

// Where to cut `text` so that its first special token is in two parts; its size if it has none.
size_t cut_of(std::string_view text, const std::vector<std::string>& specials) {
  for (size_t at = 0; at < text.size(); ++at) {
    const std::string_view rest = text.substr(at);
    if (std::ranges::any_of(specials, [&](const auto& s) { return rest.starts_with(s); }))
      return at + first_utf8(rest).length;
  }
  return text.size();
}

}  // namespace

// Collects tokens and whether they carry loss.
class ChatTemplate::Writer {
 public:
  Writer(const ChatTemplate& chat, std::vector<TokenId>& ids, std::vector<uint8_t>& mask)
      : chat_(chat), ids_(ids), mask_(mask) {}

  void text(std::string_view bytes, bool loss = false) {
    const size_t before = ids_.size();
    while (!bytes.empty()) {
      const std::string_view part = bytes.substr(0, cut_of(bytes, chat_.specials_));
      chat_.tokenizer_.encode({.bytes = part, .offset = offset_}, ids_);
      offset_ += part.size();
      bytes.remove_prefix(part.size());
    }
    check_text(std::span(ids_).subspan(before));
    mask_.resize(ids_.size(), loss ? 1 : 0);
  }
  void token(std::optional<TokenId> id, bool loss = false) {
    if (!id) return;
    ids_.push_back(*id);
    mask_.push_back(loss ? 1 : 0);
  }

 private:
  // Where normalization comes before the search for special tokens, other characters become one.
  void check_text(std::span<const TokenId> ids) const {
    for (const TokenId id : ids) {
      if (!std::ranges::binary_search(chat_.special_ids_, id)) continue;
      throw TextError(
          fmt::format("tokenizer {} normalizes the text of a message to the special "
                      "token {}; change what looks like it in the text",
                      chat_.tokenizer_.name(), id));
    }
  }

  const ChatTemplate& chat_;
  std::vector<TokenId>& ids_;
  std::vector<uint8_t>& mask_;
  uint64_t offset_ = 0;  // of the next text among the conversation's
};

std::vector<std::string> chat_template_names() {
  std::vector<std::string> names;
  for (const ChatForm& form : kForms) names.emplace_back(form.name);
  return names;
}

ChatTemplate::ChatTemplate(std::string_view name, const Tokenizer& tokenizer)
    : tokenizer_(tokenizer), form_(form_named(name)) {
  const Vocabulary vocabulary = tokenizer.vocabulary().value_or(Vocabulary{});
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Vocabulary::Token& token = vocabulary.tokens[id];
    if (token.type != Vocabulary::TokenType::control || token.text.size() <= 1) continue;
    specials_.push_back(token.text);
    special_ids_.push_back(TokenId(id));
  }
  const auto find = [&](const char* text) {
    return text ? std::optional(required_token(vocabulary, text)) : std::nullopt;
  };
  begin_ = form_.begin ? find(form_.begin) : tokenizer.begin_of_sequence();
  open_ = find(form_.open);
  close_ = find(form_.close);
  end_ = form_.end ? required_token(vocabulary, form_.end) : plain_end();
  for (const char* text : {form_.begin, form_.open, form_.close, form_.end}) {
    if (!text) continue;
    specials_.emplace_back(text);  // of whatever type
    special_ids_.push_back(*find(text));
  }
  std::ranges::sort(special_ids_);
}

TokenId ChatTemplate::required_token(const Vocabulary& vocabulary, const char* text) const {
  const auto found = std::ranges::find_if(vocabulary.tokens, [&](const Vocabulary::Token& token) {
    return is_special(token) && token.text == text;
  });
  check(found != vocabulary.tokens.end(),
        "chat template {} needs the special token {}, which tokenizer {} does not have; use the "
        "tokenizer.json of a model that was trained with this template, add {} to the "
        "added_tokens of yours, or use the template plain",
        form_.name, text, tokenizer_.name(), text);
  return TokenId(found - vocabulary.tokens.begin());
}

TokenId ChatTemplate::plain_end() const {
  const std::optional<TokenId> end =
      tokenizer_.separator() ? tokenizer_.separator() : tokenizer_.end_of_sequence();
  check(
      end.has_value(),
      "chat template {} ends responses with the tokenizer's separator, but tokenizer {} has none; "
      "use the tokenizer byte, or one with an end-of-text token",
      form_.name, tokenizer_.name());
  return *end;
}

std::string ChatTemplate::header(Role role, Writer& out) const {
  out.token(open_);
  std::string text;
  if (open_) text = role_name(role);
  if (close_) {
    out.text(text);
    out.token(close_);
    text.clear();
  }
  return text + form_.after_role;
}

void ChatTemplate::message(const Message& message, Writer& out) const {
  const std::string before = header(message.role, out);
  const std::string_view text = form_.strip ? stripped(message.text) : message.text;
  if (message.role == Role::assistant) {
    // Apart from what comes before, as when a model is asked to answer.
    out.text(before);
    out.text(text, true);
    out.token(end_, true);
  } else {
    out.text(before + std::string(text) + (form_.end ? "" : "\n"));
    if (form_.end) out.token(end_);
  }
  out.text(form_.after_turn);
}

void ChatTemplate::encode(const Conversation& conversation, std::vector<TokenId>& ids,
                          std::vector<uint8_t>& mask) const {
  Writer out(*this, ids, mask);
  out.token(begin_);
  for (const Message& each : conversation) message(each, out);
}

std::vector<TokenId> ChatTemplate::prompt(const Conversation& conversation) const {
  std::vector<TokenId> ids;
  std::vector<uint8_t> mask;
  Writer out(*this, ids, mask);
  out.token(begin_);
  for (const Message& each : conversation) message(each, out);
  out.text(header(Role::assistant, out));
  return ids;
}

}  // namespace tessera
