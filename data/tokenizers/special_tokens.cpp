#include "data/tokenizers/special_tokens.h"

#include <nlohmann/json.hpp>

#include "core/check.h"
#include "core/files/file.h"
#include "data/tokenizers/json_file.h"

namespace tessera {
namespace {

constexpr const char* kFile = "tokenizer_config.json";

// A token is its content or an object with it.
std::string token_content(const nlohmann::json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return {};
  const nlohmann::json& content = found->is_object() ? found->value("content", *found) : *found;
  check(content.is_string(), "{}: {} is not a token", kFile, key);
  return content.get<std::string>();
}

}  // namespace

SpecialTokens parse_special_tokens(std::string config) {
  SpecialTokens tokens;
  if (config.empty()) return tokens;
  const nlohmann::json json = parse_json(config);
  check(json.is_object(), "{}: not a JSON object", kFile);
  tokens.begin = token_content(json, "bos_token");
  tokens.end = token_content(json, "eos_token");
  tokens.unknown = token_content(json, "unk_token");
  tokens.padding = token_content(json, "pad_token");
  const auto add_begin = json.find("add_bos_token");
  if (add_begin != json.end() && add_begin->is_boolean()) tokens.add_begin = add_begin->get<bool>();
  tokens.config = std::move(config);
  return tokens;
}

SpecialTokens read_special_tokens(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kFile;
  if (!std::filesystem::is_regular_file(path)) return {};
  try {
    return parse_special_tokens(read_text_file(path));
  } catch (const nlohmann::json::exception& e) {
    fail("{}: not JSON: {}", path.string(), e.what());
  } catch (const Error& e) {
    fail("{}: {}", folder.string(), e.what());
  }
}

std::string tokenizer_config(const SpecialTokens& tokens, std::string_view tokenizer_class) {
  if (!tokens.config.empty()) return tokens.config;
  nlohmann::ordered_json json{{"tokenizer_class", tokenizer_class},
                              {"clean_up_tokenization_spaces", false}};
  const auto add = [&](const char* key, const std::string& token) {
    if (!token.empty()) json[key] = token;
  };
  add("bos_token", tokens.begin);
  add("eos_token", tokens.end);
  add("unk_token", tokens.unknown);
  add("pad_token", tokens.padding);
  if (tokens.add_begin) json["add_bos_token"] = *tokens.add_begin;
  return json.dump(2) + "\n";
}

}  // namespace tessera
