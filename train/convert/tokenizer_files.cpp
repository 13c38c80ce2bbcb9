#include "train/convert/tokenizer_files.h"

#include <nlohmann/json.hpp>

#include "core/files/file.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// Of tokenizers that have no published form: Tokenizer::to_json().
constexpr const char* kOwnFile = "tessera_tokenizer.json";

constexpr const char* kCarriedFiles[] = {"tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "tokenizer.model",
                                         "chat_template.jinja",
                                         kOwnFile};

}  // namespace

std::unique_ptr<Tokenizer> read_tokenizer_files(const fs::path& folder) {
  const fs::path own = folder / kOwnFile;
  if (fs::exists(own)) return restore_tokenizer(read_text_file(own), own.string());
  return nullptr;
}

void write_tokenizer_files(const ModelSource& source, const fs::path& folder) {
  if (source.form == ModelForm::huggingface) {
    for (const char* name : kCarriedFiles) {
      if (fs::exists(source.path / name))
        write_text_file(folder / name, read_text_file(source.path / name));
    }
  } else if (source.tokenizer) {
    write_text_file(folder / kOwnFile, source.tokenizer->to_json());
  }
}

GgufMetadata gguf_tokenizer(const ModelSource& source) {
  GgufMetadata metadata = {{"tokenizer.ggml.model", std::string("no_vocab")}};
  const SpecialTokens tokens = special_tokens(source);
  if (tokens.begin) metadata.emplace_back("tokenizer.ggml.bos_token_id", uint32_t(*tokens.begin));
  if (!tokens.end.empty())
    metadata.emplace_back("tokenizer.ggml.eos_token_id", uint32_t(tokens.end.front()));
  return metadata;
}

std::string state_of_special_tokens(const SpecialTokens& tokens, ModelForm converted_from) {
  nlohmann::ordered_json state = {{"converted_from", name_of(converted_from)}};
  if (tokens.begin) state["begin_of_sequence"] = *tokens.begin;
  state["end_of_sequence"] = tokens.end;
  return state.dump();
}

SpecialTokens special_tokens_of_state(const std::string& state_json) {
  SpecialTokens tokens;
  const auto state = nlohmann::json::parse(state_json, nullptr, false);
  if (!state.is_object() || !state.contains("converted_from")) return tokens;
  if (state.contains("begin_of_sequence")) tokens.begin = state["begin_of_sequence"].get<int64_t>();
  tokens.end = state.value("end_of_sequence", std::vector<int64_t>());
  return tokens;
}

SpecialTokens special_tokens(const ModelSource& source) {
  SpecialTokens tokens = source.tokens;
  if (!source.tokenizer) return tokens;
  if (!tokens.begin && source.tokenizer->begin_of_sequence())
    tokens.begin = *source.tokenizer->begin_of_sequence();
  const auto end = source.tokenizer->end_of_sequence() ? source.tokenizer->end_of_sequence()
                                                       : source.tokenizer->separator();
  if (tokens.end.empty() && end) tokens.end = {*end};
  return tokens;
}

}  // namespace tessera
