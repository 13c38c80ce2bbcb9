// What each kind of tokenizer offers to the functions of tokenizer.cpp.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "data/tokenizer.h"
#include "data/tokenizers/special_tokens.h"

namespace tessera {

// Ids 0..255 are the bytes themselves, 256 separates documents.
std::unique_ptr<Tokenizer> create_byte_tokenizer(const TextSource& corpus);
std::unique_ptr<Tokenizer> restore_byte_tokenizer(const nlohmann::json& json);

// Ids are ranks in the sorted set of Unicode code points of the corpus, which must be UTF-8.
std::unique_ptr<Tokenizer> create_char_tokenizer(const TextSource& corpus);
std::unique_ptr<Tokenizer> restore_char_tokenizer(const nlohmann::json& json);

// `file` is the text of a Hugging Face tokenizer.json.
std::unique_ptr<Tokenizer> create_bpe_tokenizer(std::string file, SpecialTokens special);
std::unique_ptr<Tokenizer> restore_bpe_tokenizer(const nlohmann::json& json);

// `model` is the contents of a SentencePiece model file.
std::unique_ptr<Tokenizer> create_sentencepiece_tokenizer(std::string model, SpecialTokens special);
std::unique_ptr<Tokenizer> restore_sentencepiece_tokenizer(const nlohmann::json& json);

}  // namespace tessera
