#include "train/convert/gguf_tokenizer.h"

#include <nlohmann/json.hpp>

#include "core/files/file.h"
#include "train/convert/special_tokens.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// GGUF's numbers for Vocabulary::TokenType.
int32_t gguf_token_type(Vocabulary::TokenType type) {
  switch (type) {
    case Vocabulary::TokenType::normal:
      return 1;
    case Vocabulary::TokenType::unknown:
      return 2;
    case Vocabulary::TokenType::control:
      return 3;
    case Vocabulary::TokenType::user_defined:
      return 4;
    case Vocabulary::TokenType::unused:
      return 5;
    case Vocabulary::TokenType::byte:
      return 6;
  }
  fail("a token of a type that is not known");
}

const char* gguf_tokenizer_model(Vocabulary::Kind kind) {
  switch (kind) {
    case Vocabulary::Kind::byte_level_bpe:
      return "gpt2";
    case Vocabulary::Kind::sentencepiece_bpe:
      return "llama";
    case Vocabulary::Kind::sentencepiece_unigram:
      return "t5";
  }
  fail("a vocabulary of a kind that is not known");
}

void add_vocabulary(const Vocabulary& vocabulary, int64_t model_size, GgufMetadata& metadata) {
  check(int64_t(vocabulary.tokens.size()) <= model_size,
        "the tokenizer has {} tokens, the model only {}", vocabulary.tokens.size(), model_size);
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<int32_t> types;
  for (const Vocabulary::Token& token : vocabulary.tokens) {
    texts.push_back(token.text);
    scores.push_back(token.score);
    types.push_back(gguf_token_type(token.type));
  }
  for (int64_t i = int64_t(texts.size()); i < model_size; ++i) {  // as many as embeddings
    texts.push_back(fmt::format("[PAD{}]", i));
    scores.push_back(0);
    types.push_back(gguf_token_type(Vocabulary::TokenType::unused));
  }
  metadata.emplace_back("tokenizer.ggml.tokens", std::move(texts));
  metadata.emplace_back("tokenizer.ggml.token_type", std::move(types));
  if (vocabulary.kind == Vocabulary::Kind::byte_level_bpe) {
    metadata.emplace_back("tokenizer.ggml.merges", vocabulary.merges);
  } else {
    metadata.emplace_back("tokenizer.ggml.scores", std::move(scores));
    metadata.emplace_back("tokenizer.ggml.add_space_prefix", vocabulary.add_space_prefix);
    metadata.emplace_back("tokenizer.ggml.remove_extra_whitespaces",
                          vocabulary.remove_extra_whitespaces);
  }
  if (!vocabulary.character_map.empty()) {
    const std::string& map = vocabulary.character_map;
    metadata.emplace_back("tokenizer.ggml.precompiled_charsmap",
                          std::vector<uint8_t>(map.begin(), map.end()));
  }
  if (!vocabulary.pre_tokenizer.empty())
    metadata.emplace_back("tokenizer.ggml.pre", vocabulary.pre_tokenizer);
  metadata.emplace_back("tokenizer.ggml.add_bos_token", vocabulary.add_begin_of_sequence);
  if (vocabulary.unknown)
    metadata.emplace_back("tokenizer.ggml.unknown_token_id", uint32_t(*vocabulary.unknown));
  if (vocabulary.padding)
    metadata.emplace_back("tokenizer.ggml.padding_token_id", uint32_t(*vocabulary.padding));
}

// How messages become a prompt, as a Jinja text: of its own or in tokenizer_config.json.
std::string chat_template(const ModelSource& source) {
  if (source.form != ModelForm::huggingface) return {};
  if (const fs::path file = source.path / "chat_template.jinja"; fs::exists(file))
    return read_text_file(file);
  const fs::path path = source.path / "tokenizer_config.json";
  if (!fs::exists(path)) return {};
  const auto config = nlohmann::json::parse(read_text_file(path), nullptr, false);
  if (!config.is_object() || !config.contains("chat_template")) return {};
  const auto& text = config["chat_template"];
  return text.is_string() ? text.get<std::string>() : std::string();
}

}  // namespace

GgufMetadata gguf_tokenizer(const ModelSource& source) {
  const auto vocabulary = source.tokenizer ? source.tokenizer->vocabulary() : std::nullopt;
  GgufMetadata metadata = {
      {"tokenizer.ggml.model",
       std::string(vocabulary ? gguf_tokenizer_model(vocabulary->kind) : "no_vocab")}};
  if (vocabulary) add_vocabulary(*vocabulary, source.config.model.vocab_size, metadata);
  const SpecialTokens tokens = special_tokens(source);
  if (tokens.begin) metadata.emplace_back("tokenizer.ggml.bos_token_id", uint32_t(*tokens.begin));
  if (!tokens.end.empty())
    metadata.emplace_back("tokenizer.ggml.eos_token_id", uint32_t(tokens.end.front()));
  if (std::string text = chat_template(source); !text.empty())
    metadata.emplace_back("tokenizer.chat_template", std::move(text));
  return metadata;
}

std::vector<std::string> gguf_limits(const ModelSource& source) {
  const ModelConfig& model = source.config.model;
  std::vector<std::string> limits;
  if (model.sliding_window > 0 && model.sliding_window < model.context) {
    limits.push_back(
        fmt::format("it attends to all tokens, not only to the last {}", model.sliding_window));
  }
  if (model.qkv_bias && model.heads * model.head_dim != model.width) {
    limits.push_back(
        fmt::format("it does not load a Qwen2 whose {} heads of {} are not its width, {}",
                    model.heads, model.head_dim, model.width));
  }
  const auto vocabulary = source.tokenizer ? source.tokenizer->vocabulary() : std::nullopt;
  if (!vocabulary) return limits;
  using Kind = Vocabulary::Kind;
  if (vocabulary->kind == Kind::byte_level_bpe && vocabulary->pre_tokenizer.empty())
    limits.emplace_back(
        "it has no name for the rule by which the tokenizer splits text into words");
  if (vocabulary->kind == Kind::sentencepiece_bpe &&
      (vocabulary->remove_extra_whitespaces || !vocabulary->character_map.empty()))
    limits.emplace_back("it does not normalize text as the tokenizer does");
  return limits;
}

}  // namespace tessera
