// The "decoder" of a tokenizer.json: what bytes a token stands for.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizers/json_file.h"

namespace tessera {

struct TokenDecoder {
  bool byte_level = false;     // tokens are spelled in ByteAlphabet
  bool byte_fallback = false;  // "<0x0A>" stands for its byte
  bool strips_space = false;   // one space at the beginning of a text is not of the text
  std::vector<std::pair<std::string, std::string>> replacements;  // within tokens, in this order
};

// Throws Error naming the key of what is not supported.
TokenDecoder parse_decoder(const JsonValue& value);

}  // namespace tessera
