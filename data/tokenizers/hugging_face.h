// What a Hugging Face tokenizer.json says, read and checked.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizers/added_tokens.h"
#include "data/tokenizers/bpe_model.h"
#include "data/tokenizers/decoder.h"
#include "data/tokenizers/normalizer.h"
#include "data/tokenizers/pre_tokenizer.h"

namespace tessera {

struct HuggingFaceFile {
  std::vector<AddedToken> added;
  std::vector<std::unique_ptr<Normalizer>> normalizers;
  PreTokenizer pre_tokenizer;
  TokenDecoder decoder;
  std::optional<TokenId> template_begin;  // the post-processor puts it before a text

  BpeOptions options;
  std::vector<std::optional<std::string>> tokens;   // by id, as the file spells them
  BpeModel::Ids ids;                                // of the bytes that they stand for
  std::vector<std::pair<TokenId, TokenId>> merges;  // best first
  std::vector<TokenId> merged;                      // what each of them gives
};

// Throws Error naming the key of what is damaged or not supported, nlohmann::json::exception for
// what is not JSON.
HuggingFaceFile parse_hugging_face_file(std::string_view json);

}  // namespace tessera
