// What a Hugging Face tokenizer_config.json says about the tokens around a text.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

struct SpecialTokens {
  std::string begin, end, unknown, padding;  // contents of the tokens; empty where not named
  std::optional<bool> add_begin;             // encoders put `begin` before a text
  std::string config;                        // the file itself, which may say much more
};

// Of the file's text; nothing for an empty text. Throws Error for what is not such a file.
SpecialTokens parse_special_tokens(std::string config);
// Of the file in `folder`, if there is one.
SpecialTokens read_special_tokens(const std::filesystem::path& folder);

// The text of tokenizer_config.json: the original, or a new one of that `tokenizer_class`.
std::string tokenizer_config(const SpecialTokens& tokens, std::string_view tokenizer_class);

}  // namespace tessera
