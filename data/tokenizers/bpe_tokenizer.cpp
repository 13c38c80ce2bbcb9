// Byte pair encoding as a Hugging Face tokenizer.json describes it.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/check.h"
#include "data/tokenizers/byte_alphabet.h"
#include "data/tokenizers/cuts.h"
#include "data/tokenizers/hugging_face.h"
#include "data/tokenizers/kinds.h"
#include "data/tokenizers/sentencepiece_model.h"
#include "data/tokenizers/word_cache.h"
#include "data/utf8.h"

namespace tessera {
namespace {

using TokenType = Vocabulary::TokenType;

constexpr std::string_view kSpaceMark = "\u2581";

// Whether no merge reaches across the beginning of a space mark that follows something else, so
// that words may begin there.
bool merges_keep_space_marks(const HuggingFaceFile& file) {
  if (file.options.byte_level || file.options.ignore_merges) return false;
  if (!file.ids.contains(std::string(kSpaceMark))) return false;
  return std::ranges::none_of(file.merged, [&](TokenId id) {
    const std::string& text = *file.tokens[id];
    const size_t word = text.find_first_not_of(kSpaceMark);  // bytewise, which is strict enough
    return word != std::string::npos && text.find(kSpaceMark, word) != std::string::npos;
  });
}

// Tokens that would be cut, or that the text behind a cut would be mistaken to follow.
bool may_cut_beside(const AddedToken& token) {
  const char last = token.content.back();
  const bool letter = (last | 0x20) >= 'a' && (last | 0x20) <= 'z';
  const bool digit = last >= '0' && last <= '9';
  return token.content.find_first_of(" \n,") == std::string::npos && !letter && !digit &&
         uint8_t(last) < 0x80;
}

CutRule cut_rule(const HuggingFaceFile& file) {
  const auto is_local = [](const auto& normalizer) { return normalizer->is_local(); };
  if (!std::ranges::all_of(file.added, may_cut_beside) ||
      !std::ranges::all_of(file.normalizers, is_local)) {
    return {};
  }
  for (const auto& step : file.pre_tokenizer.steps) {
    const Splitting::AtCut at_cut = step->at_cut();
    if (at_cut == Splitting::AtCut::unknown) return {};
    if (at_cut == Splitting::AtCut::keeps) continue;
    const bool everywhere = at_cut == Splitting::AtCut::splits;
    return {.at_space = true, .at_line_feed = everywhere, .at_comma = everywhere};
  }
  return {};
}

std::vector<AddedToken> added_tokens(const HuggingFaceFile& file, bool normalized) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : file.added) {
    if (token.normalized != normalized) continue;
    for (const auto& step : file.normalizers) {
      if (normalized) token.content = step->apply(token.content, true);
    }
    if (!token.content.empty()) tokens.push_back(std::move(token));
  }
  return tokens;
}

MergeTable merge_table(const HuggingFaceFile& file) {
  MergeTable table(file.merges.size());
  for (size_t rank = 0; rank < file.merges.size(); ++rank) {
    const auto [left, right] = file.merges[rank];
    table.insert(left, right, {.rank = uint32_t(rank), .merged = file.merged[rank]});
  }
  return table;
}

std::string decoded(const TokenDecoder& decoder, const ByteAlphabet& alphabet, std::string text) {
  if (decoder.byte_level) return alphabet.bytes(text).value_or(text);
  for (const auto& [pattern, content] : decoder.replacements) {
    for (size_t at = 0; (at = text.find(pattern, at)) != std::string::npos; at += content.size()) {
      text.replace(at, pattern.size(), content);
    }
  }
  const int byte = decoder.byte_fallback ? byte_of_piece(text) : -1;
  return byte < 0 ? text : std::string(1, char(byte));
}

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(std::string text, SpecialTokens special)
      : text_(std::move(text)),
        special_(std::move(special)),
        file_(with_word_marks(parse_hugging_face_file(text_))),
        model_(file_.options, file_.ids, merge_table(file_)),
        cut_rule_(cut_rule(file_)),
        raw_tokens_(added_tokens(file_, false)),
        normalized_tokens_(added_tokens(file_, true)) {
    const ByteAlphabet alphabet;
    for (const auto& token : file_.tokens) {
      decoded_.push_back(decoded(file_.decoder, alphabet, token.value_or("")));
    }
    for (const AddedToken& token : file_.added) {
      decoded_[token.id] = token.special ? "" : token.content;
    }
    begin_ = file_.template_begin ? file_.template_begin : id_of(special_.begin);
    end_ = id_of(special_.end);
    for (const char* guess : {"<|endoftext|>", "<|end_of_text|>", "</s>"}) {
      if (!end_ && special_.end.empty()) end_ = id_of(guess);
    }
  }

  std::string name() const override { return "bpe"; }
  uint32_t vocabulary_size() const override { return uint32_t(file_.tokens.size()); }
  std::optional<TokenId> separator() const override { return end_; }
  std::optional<TokenId> end_of_sequence() const override { return end_; }
  std::optional<TokenId> begin_of_sequence() const override {
    return file_.template_begin || special_.add_begin.value_or(false) ? begin_ : std::nullopt;
  }
  bool adds_leading_space() const override { return file_.decoder.strips_space; }

  size_t encode(const TextPart& part, std::vector<TokenId>& ids) const override {
    return encode_by_blocks(
        part, cut_rule_,
        [this](std::string_view block, bool begins, std::vector<TokenId>& out) {
          encode_block(block, begins, out);
        },
        ids);
  }

  void decode(TokenId id, std::string& bytes) const override {
    check(id < vocabulary_size(), "token id {} is not below the size of the vocabulary, {}", id,
          vocabulary_size());
    bytes += decoded_[id];
  }

  std::vector<TextFile> published_files() const override {
    SpecialTokens names = special_;
    if (begin_) names.begin = *file_.tokens[*begin_];
    if (end_) names.end = *file_.tokens[*end_];
    return {{"tokenizer.json", text_},
            {"tokenizer_config.json", tokenizer_config(names, "PreTrainedTokenizerFast")}};
  }

  std::optional<Vocabulary> vocabulary() const override;

  std::string to_json() const override {
    return nlohmann::json{{"tokenizer", name()}, {"file", text_}, {"config", special_.config}}
        .dump();
  }

 private:
  // What encoding needs at one time.
  struct State {
    WordCache words;
    BpeModel::Scratch scratch;
  };

  static HuggingFaceFile with_word_marks(HuggingFaceFile file) {
    if (merges_keep_space_marks(file)) {
      file.pre_tokenizer.steps.push_back(split_at_space_marks());
    }
    return file;
  }

  std::optional<TokenId> id_of(const std::string& text) const {
    if (text.empty()) return std::nullopt;
    const auto found = std::ranges::find(file_.tokens, text);
    if (found == file_.tokens.end()) return std::nullopt;
    return TokenId(found - file_.tokens.begin());
  }

  void encode_block(std::string_view text, bool begins, std::vector<TokenId>& ids) const {
    const auto state = states_.lend();
    Place place{.begins_document = begins, .begins_segment = begins};
    raw_tokens_.split(text, [&](std::optional<TokenId> id, std::string_view segment) {
      id ? ids.push_back(*id) : encode_segment(segment, place, ids, *state);
      place = {.begins_segment = true};
    });
  }

  // Bytes that are not UTF-8 stand by themselves: the other rules are for text only.
  void encode_segment(std::string_view text, Place place, std::vector<TokenId>& ids,
                      State& state) const {
    while (!text.empty()) {
      const size_t valid = valid_utf8_prefix(text);
      if (valid > 0) encode_text(text.substr(0, valid), place, ids, state);
      text.remove_prefix(valid);
      size_t invalid = 0;
      while (invalid < text.size() && valid_utf8_prefix(text.substr(invalid, 4)) == 0) ++invalid;
      if (invalid > 0) model_.encode_bytes(text.substr(0, invalid), ids, state.scratch);
      text.remove_prefix(invalid);
      place = {};
    }
  }

  void encode_text(std::string_view text, Place place, std::vector<TokenId>& ids,
                   State& state) const {
    std::string normalized;
    for (const auto& step : file_.normalizers) {
      normalized = step->apply(text, place.begins_segment);
      text = normalized;
    }
    const auto miss = [&](std::string_view word, std::vector<TokenId>& out) {
      model_.encode(word, out, state.scratch);
    };
    const WordVisitor word = [&](std::string_view w) { state.words.append(w, ids, miss); };
    normalized_tokens_.split(text, [&](std::optional<TokenId> id, std::string_view piece) {
      id ? ids.push_back(*id) : file_.pre_tokenizer.split(piece, place, word);
      place = {.begins_segment = true};
    });
  }

  std::string text_;
  SpecialTokens special_;
  HuggingFaceFile file_;
  BpeModel model_;
  CutRule cut_rule_;
  AddedTokenMatcher raw_tokens_, normalized_tokens_;
  std::vector<std::string> decoded_;  // by id
  std::optional<TokenId> begin_, end_;
  mutable Pool<State> states_;
};

std::optional<Vocabulary> BpeTokenizer::vocabulary() const {
  Vocabulary result;
  const bool bytes = file_.options.byte_level;
  result.kind = bytes ? Vocabulary::Kind::byte_level_bpe : Vocabulary::Kind::sentencepiece_bpe;
  result.pre_tokenizer = file_.pre_tokenizer.gguf_name;
  for (const auto& token : file_.tokens) {
    const bool byte = file_.options.byte_fallback && token && byte_of_piece(*token) >= 0;
    const TokenType type = !token ? TokenType::unused : byte ? TokenType::byte : TokenType::normal;
    result.tokens.push_back({.text = token.value_or(""), .type = type});
  }
  for (const AddedToken& token : file_.added) {
    result.tokens[token.id].type = token.special ? TokenType::control : TokenType::user_defined;
  }
  for (size_t rank = 0; rank < file_.merges.size(); ++rank) {
    const auto [left, right] = file_.merges[rank];
    result.tokens[file_.merged[rank]].score = -float(rank);
    if (bytes) result.merges.push_back(*file_.tokens[left] + " " + *file_.tokens[right]);
  }
  if (file_.options.unknown) result.tokens[*file_.options.unknown].type = TokenType::unknown;
  result.begin_of_sequence = begin_;
  result.end_of_sequence = end_;
  result.unknown = file_.options.unknown ? file_.options.unknown : id_of(special_.unknown);
  result.padding = id_of(special_.padding);
  result.add_begin_of_sequence = begin_of_sequence().has_value();
  result.add_space_prefix = file_.decoder.strips_space;
  return result;
}

}  // namespace

std::unique_ptr<Tokenizer> create_bpe_tokenizer(std::string file, SpecialTokens special) {
  return std::make_unique<BpeTokenizer>(std::move(file), std::move(special));
}

std::unique_ptr<Tokenizer> restore_bpe_tokenizer(const nlohmann::json& json) {
  return create_bpe_tokenizer(json.at("file").get<std::string>(),
                              parse_special_tokens(json.at("config").get<std::string>()));
}

}  // namespace tessera
