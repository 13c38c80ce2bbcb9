// SentencePiece models, encoded by the library of that name.
#include <sentencepiece_processor.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/check.h"
#include "data/tokenizers/base64.h"
#include "data/tokenizers/cuts.h"
#include "data/tokenizers/kinds.h"
#include "data/tokenizers/sentencepiece_model.h"
#include "data/tokenizers/special_tokens.h"
#include "data/tokenizers/word_cache.h"
#include "data/utf8.h"

namespace tessera {
namespace {

using TokenType = Vocabulary::TokenType;

constexpr std::string_view kSpaceMark = "\u2581";  // for ' ' in pieces

// Appended to a model, it sets normalizer_spec.add_dummy_prefix (field 3 of field 3) to false:
// protobuf merges a message that occurs twice.
constexpr std::string_view kNoDummyPrefix("\x1A\x02\x18\x00", 4);

bool crosses_words(std::string_view piece) {
  const size_t words = piece.find_first_not_of(kSpaceMark);  // bytewise, which is strict enough
  return piece.find(' ') != std::string_view::npos ||
         (words != std::string_view::npos &&
          piece.find(kSpaceMark, words) != std::string_view::npos);
}

// Whether a text may be encoded word by word (a word begins at a space that follows another
// character) and in pieces of valid UTF-8: the library then changes nothing but spaces, and no
// piece reaches from one word into the next.
bool encodes_by_words(const SentencePieceModel& model) {
  const bool plain = model.character_map.empty() && !model.remove_extra_whitespaces &&
                     model.escape_whitespaces && !model.whitespace_as_suffix;
  bool has_space = false;
  for (const Vocabulary::Token& piece : model.pieces) {
    const bool in_text = piece.type != TokenType::control && piece.type != TokenType::unknown;
    if (in_text && crosses_words(piece.text)) return false;
    has_space |= in_text && piece.text == kSpaceMark;
  }
  return plain && has_space;
}

// Whether a line feed stands by itself: no piece has one, so it becomes its byte.
bool isolates_lines(const SentencePieceModel& model) {
  return model.byte_fallback && std::ranges::none_of(model.pieces, [](const auto& piece) {
           return piece.text.find('\n') != std::string::npos;
         });
}

// Calls visit(word) for the words of `text` in order.
template <class Visit>
void for_each_word(std::string_view text, bool isolate_lines, Visit&& visit) {
  size_t start = 0;
  for (size_t at = 1; at < text.size(); ++at) {
    const bool line = isolate_lines && (text[at] == '\n' || text[at - 1] == '\n');
    if (!line && text[at] != ' ') continue;
    const std::string_view before = text.substr(start, at - start);
    if (!line && (before.ends_with(' ') || before.ends_with(kSpaceMark))) continue;
    visit(before);
    start = at;
  }
  if (start < text.size()) visit(text.substr(start));
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string bytes, SpecialTokens special)
      : bytes_(std::move(bytes)),
        special_(std::move(special)),
        model_(parse_sentencepiece_model(bytes_)),
        by_words_(encodes_by_words(model_)),
        isolate_lines_(isolates_lines(model_)) {
    const auto status = processor_.LoadFromSerializedProto(
        by_words_ ? without_self_test(bytes_).append(kNoDummyPrefix) : bytes_);
    check(status.ok(), "not a SentencePiece model: {}", status.ToString());
    check(size_t(processor_.GetPieceSize()) == model_.pieces.size(),
          "the SentencePiece model has {} pieces, but the library reads {}", model_.pieces.size(),
          processor_.GetPieceSize());
    begin_ = special_.begin.empty() ? model_.control(model_.begin_piece)
                                    : model_.control(special_.begin);
    end_ = special_.end.empty() ? model_.control(model_.end_piece) : model_.control(special_.end);
    find_bytes();
  }

  std::string name() const override { return "sentencepiece"; }
  uint32_t vocabulary_size() const override { return uint32_t(model_.pieces.size()); }
  std::optional<TokenId> separator() const override { return end_; }
  std::optional<TokenId> end_of_sequence() const override { return end_; }
  std::optional<TokenId> begin_of_sequence() const override {
    return special_.add_begin.value_or(true) ? begin_ : std::nullopt;
  }
  bool adds_leading_space() const override { return model_.add_dummy_prefix; }

  size_t encode(const TextPart& part, std::vector<TokenId>& ids) const override {
    const CutRule rule{.at_space = by_words_, .at_line_feed = by_words_ && isolate_lines_};
    return encode_by_blocks(
        part, rule,
        [&](std::string_view block, bool begins, std::vector<TokenId>& out) {
          by_words_ ? encode_words(block, begins, out) : encode_text(block, out);
        },
        ids);
  }

  void decode(TokenId id, std::string& bytes) const override {
    check(id < vocabulary_size(), "token id {} is not below the size of the vocabulary, {}", id,
          vocabulary_size());
    const Vocabulary::Token& piece = model_.pieces[id];
    if (piece.type == TokenType::control) return;
    if (piece.type == TokenType::unknown) {
      bytes += model_.unknown_surface;
    } else if (piece.type == TokenType::byte) {
      bytes.push_back(char(byte_of_piece(piece.text)));
    } else {
      append_with_spaces(piece.text, bytes);
    }
  }

  std::vector<TextFile> published_files() const override {
    SpecialTokens names = special_;
    const auto text = [&](std::optional<TokenId> id) { return id ? model_.pieces[*id].text : ""; };
    names.begin = text(begin_);
    names.end = text(end_);
    names.unknown = model_.pieces[model_.unknown].text;
    names.add_begin = begin_of_sequence().has_value();
    return {{"tokenizer.model", bytes_},
            {"tokenizer_config.json", tokenizer_config(names, "LlamaTokenizer")}};
  }

  std::optional<Vocabulary> vocabulary() const override {
    Vocabulary result;
    result.kind =
        model_.bpe ? Vocabulary::Kind::sentencepiece_bpe : Vocabulary::Kind::sentencepiece_unigram;
    result.tokens = model_.pieces;
    result.begin_of_sequence = begin_;
    result.end_of_sequence = end_;
    result.unknown = model_.unknown;
    result.padding = model_.control(model_.padding_piece);
    result.add_begin_of_sequence = begin_of_sequence().has_value();
    result.add_space_prefix = model_.add_dummy_prefix;
    result.remove_extra_whitespaces = model_.remove_extra_whitespaces;
    result.character_map = model_.character_map;
    return result;
  }

  std::string to_json() const override {
    return nlohmann::json{
        {"tokenizer", name()}, {"model", to_base64(bytes_)}, {"config", special_.config}}
        .dump();
  }

 private:
  void find_bytes() {
    for (size_t id = 0; id < model_.pieces.size(); ++id) {
      if (model_.pieces[id].type != TokenType::byte) continue;
      byte_ids_[size_t(byte_of_piece(model_.pieces[id].text))] = TokenId(id);
    }
  }

  static void append_with_spaces(std::string_view piece, std::string& bytes) {
    for (size_t mark; (mark = piece.find(kSpaceMark)) != std::string_view::npos;) {
      bytes.append(piece.substr(0, mark)).push_back(' ');
      piece.remove_prefix(mark + kSpaceMark.size());
    }
    bytes += piece;
  }

  // Bytes that are not UTF-8 become byte pieces, so that they come back from decode(); without such
  // pieces the library makes them unknown.
  void encode_words(std::string_view text, bool begins, std::vector<TokenId>& ids) const {
    const auto cache = caches_.lend();
    const auto encode = [this](std::string_view word, std::vector<TokenId>& out) {
      encode_text(word, out);
    };
    std::string prefixed;
    for (bool prefix = begins && model_.add_dummy_prefix; !text.empty(); prefix = false) {
      const size_t valid = model_.byte_fallback ? valid_utf8_prefix(text) : text.size();
      std::string_view run = text.substr(0, valid);
      if (prefix) run = prefixed.append(" ").append(run);
      for_each_word(run, isolate_lines_,
                    [&](std::string_view word) { cache->append(word, ids, encode); });
      text.remove_prefix(valid);
      for (; !text.empty() && valid_utf8_prefix(text.substr(0, 4)) == 0; text.remove_prefix(1)) {
        ids.push_back(byte_ids_[uint8_t(text[0])]);
      }
    }
  }

  void encode_text(std::string_view text, std::vector<TokenId>& ids) const {
    std::vector<int> found;
    // The library before 0.1.97 has a string_view of its own.
    const auto status = processor_.Encode({text.data(), text.size()}, &found);
    check(status.ok(), "SentencePiece: {}", status.ToString());
    ids.insert(ids.end(), found.begin(), found.end());
  }

  std::string bytes_;
  SpecialTokens special_;
  SentencePieceModel model_;
  bool by_words_, isolate_lines_;
  sentencepiece::SentencePieceProcessor processor_;
  std::optional<TokenId> begin_, end_;
  std::array<TokenId, 256> byte_ids_{};
  mutable Pool<WordCache> caches_;
};

}  // namespace

std::unique_ptr<Tokenizer> create_sentencepiece_tokenizer(std::string model,
                                                          SpecialTokens special) {
  return std::make_unique<SentencePieceTokenizer>(std::move(model), std::move(special));
}

std::unique_ptr<Tokenizer> restore_sentencepiece_tokenizer(const nlohmann::json& json) {
  return create_sentencepiece_tokenizer(from_base64(json.at("model").get<std::string>()),
                                        parse_special_tokens(json.at("config").get<std::string>()));
}

}  // namespace tessera
