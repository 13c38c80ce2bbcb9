// What each kind of tokenizer offers to the table in tokenizer.cpp.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "data/tokenizer.h"

namespace tessera {

// Ids 0..255 are the bytes themselves, 256 separates documents.
std::unique_ptr<Tokenizer> create_byte_tokenizer(const TextSource& corpus);
std::unique_ptr<Tokenizer> restore_byte_tokenizer(const nlohmann::json& json);

// Ids are ranks in the sorted set of Unicode code points of the corpus, which must be UTF-8.
std::unique_ptr<Tokenizer> create_char_tokenizer(const TextSource& corpus);
std::unique_ptr<Tokenizer> restore_char_tokenizer(const nlohmann::json& json);

}  // namespace tessera
