#include "data/tokenizers/hugging_face.h"

#include "data/tokenizers/byte_alphabet.h"
#include "data/utf8.h"

namespace tessera {
namespace {

// Ids need not be dense, but a table by id must not outgrow the file.
constexpr size_t kMaxGap = 1024;

void parse_added_tokens(const JsonValue& file, HuggingFaceFile& result) {
  if (!file.has("added_tokens")) return;
  file.at("added_tokens").for_each([&](const JsonValue& value) {
    AddedToken token{.id = value.at("id").number(),
                     .content = value.at("content").text(),
                     .single_word = value.flag_or("single_word", false),
                     .lstrip = value.flag_or("lstrip", false),
                     .rstrip = value.flag_or("rstrip", false),
                     .normalized = value.flag_or("normalized", true),
                     .special = value.flag_or("special", false)};
    check(!token.content.empty(), "{}.content is empty", value.path());
    result.added.push_back(std::move(token));
  });
}

void place_token(HuggingFaceFile& result, TokenId id, const std::string& text) {
  auto& place = result.tokens[id];
  if (place && *place != text) {
    fail("tokens '{}' and '{}' have the same id, {}", *place, text, id);
  }
  place = text;
}

void parse_vocabulary(const JsonValue& model, HuggingFaceFile& result) {
  const JsonValue vocabulary = model.at("vocab");
  const size_t limit = 2 * (vocabulary.object().size() + result.added.size()) + kMaxGap;
  size_t size = 0;
  const auto extend = [&](TokenId id, std::string_view text) {
    check(id < limit, "token '{}' has id {}, but there are only {} tokens", text, id,
          vocabulary.object().size() + result.added.size());
    size = std::max<size_t>(size, id + 1);
  };
  for (const auto& [text, id] : vocabulary.object().items()) {
    extend(JsonValue(id, "model.vocab." + text).number(), text);
  }
  for (const AddedToken& token : result.added) extend(token.id, token.content);
  check(size > 0, "{} is empty", vocabulary.path());
  result.tokens.resize(size);
  const ByteAlphabet alphabet;
  for (const auto& [text, id] : vocabulary.object().items()) {
    place_token(result, id.get<TokenId>(), text);
    std::optional<std::string> bytes = text;
    if (result.options.byte_level) bytes = alphabet.bytes(text);
    // What is not spelled in bytes cannot come from text, other than as an added token.
    if (bytes) result.ids.emplace(std::move(*bytes), id.get<TokenId>());
  }
  for (const AddedToken& token : result.added) place_token(result, token.id, token.content);
}

// "left right" or ["left", "right"].
std::pair<std::string_view, std::string_view> merge_parts(const nlohmann::json& merge,
                                                          size_t rank) {
  std::string_view left, right;
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    left = merge[0].get_ref<const std::string&>();
    right = merge[1].get_ref<const std::string&>();
  } else if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      left = text.substr(0, space);
      right = text.substr(space + 1);
    }
  }
  check(!left.empty() && !right.empty(), "model.merges[{}] is not a pair of tokens", rank);
  return {left, right};
}

void parse_merges(const JsonValue& model, HuggingFaceFile& result) {
  const nlohmann::json& merges = model.at("merges").json();
  check(merges.is_array(), "model.merges is not a list");
  const nlohmann::json& vocabulary = model.at("vocab").object();
  const auto id_of = [&](const std::string& text, size_t rank) {
    const auto found = vocabulary.find(text);
    check(found != vocabulary.end(), "model.merges[{}]: '{}' is not in model.vocab", rank, text);
    return found->get<TokenId>();
  };
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto [left, right] = merge_parts(merges[rank], rank);
    result.merges.emplace_back(id_of(std::string(left), rank), id_of(std::string(right), rank));
    result.merged.push_back(id_of(std::string(left).append(right), rank));
  }
}

void parse_model(const JsonValue& model, HuggingFaceFile& result) {
  const std::string type = model.text_or("type", "BPE");
  check(type == "BPE", "model.type '{}' is not supported; supported is BPE", type);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    check(model.text_or(key, "").empty(), "model.{} is not supported", key);
  }
  check(!model.has("dropout") || model.at("dropout").json() == 0, "model.dropout is not supported");
  result.options = {.byte_level = result.pre_tokenizer.byte_level,
                    .ignore_merges = model.flag_or("ignore_merges", false),
                    .byte_fallback = model.flag_or("byte_fallback", false),
                    .fuse_unknown = model.flag_or("fuse_unk", false)};
  parse_vocabulary(model, result);
  parse_merges(model, result);
  if (model.has("unk_token")) {
    const std::string& text = model.at("unk_token").text();
    const auto found = model.at("vocab").object().find(text);
    check(found != model.at("vocab").object().end(), "model.unk_token '{}' is not in model.vocab",
          text);
    result.options.unknown = found->get<TokenId>();
  }
}

// The token that a template puts before the text.
void parse_template(const JsonValue& value, HuggingFaceFile& result) {
  const nlohmann::json& single = value.at("single").json();
  check(single.is_array(), "{}.single is not a list", value.path());
  if (single.empty() || !single[0].is_object() || !single[0].contains("SpecialToken")) return;
  const JsonValue first(single[0]["SpecialToken"], value.path() + ".single[0].SpecialToken");
  const std::string& name = first.at("id").text();
  const JsonValue ids = value.at("special_tokens").at(name.c_str()).at("ids");
  check(ids.json().is_array() && ids.json().size() == 1, "{} is not one id", ids.path());
  result.template_begin = JsonValue(ids.json()[0], ids.path()).number();
}

void parse_post_processor(const JsonValue& value, HuggingFaceFile& result) {
  const std::string& type = value.at("type").text();
  if (type == "Sequence") {
    value.at("processors").for_each([&](const JsonValue& v) { parse_post_processor(v, result); });
  } else if (type == "TemplateProcessing") {
    parse_template(value, result);
  } else {
    check(type == "ByteLevel",
          "{}: post-processor '{}' is not supported; supported are TemplateProcessing, ByteLevel "
          "and Sequence",
          value.path(), type);
  }
}

}  // namespace

HuggingFaceFile parse_hugging_face_file(std::string_view text) {
  const nlohmann::json json = parse_json(text);
  const JsonValue file(json);
  HuggingFaceFile result;
  parse_added_tokens(file, result);
  if (file.has("normalizer")) result.normalizers = parse_normalizers(file.at("normalizer"));
  if (file.has("pre_tokenizer"))
    result.pre_tokenizer = parse_pre_tokenizer(file.at("pre_tokenizer"));
  if (file.has("decoder")) result.decoder = parse_decoder(file.at("decoder"));
  parse_model(file.at("model"), result);
  if (file.has("post_processor")) parse_post_processor(file.at("post_processor"), result);
  const TokenId begin = result.template_begin.value_or(0);
  check(!result.template_begin || (begin < result.tokens.size() && result.tokens[begin]),
        "post_processor names token {}, but no token has that id", begin);
  return result;
}

}  // namespace tessera
