// What a SentencePiece model file says. The file is a protobuf message, ModelProto in
// sentencepiece_model.proto; its numbers are the numbers of that file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace tessera {

struct SentencePieceModel {
  bool bpe = false;  // otherwise unigram
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string character_map;  // a table of replacements, such as NFKC's
  std::string unknown_surface = " \u2047 ";
  std::string begin_piece = "<s>", end_piece = "</s>", padding_piece = "<pad>";
  std::vector<Vocabulary::Token> pieces;  // by id
  TokenId unknown = 0;                    // the only piece of that type

  // The id of the control piece of that name.
  std::optional<TokenId> control(std::string_view text) const;
};

// The byte that a piece such as "<0x0A>" stands for; -1 for other pieces.
int byte_of_piece(std::string_view text);

// Throws Error for anything that the SentencePiece library might not survive: it trusts its files.
SentencePieceModel parse_sentencepiece_model(std::string_view bytes);

// The same model without the texts that the library encodes when it loads one, to compare their
// pieces: a model whose rules are changed fails that comparison.
std::string without_self_test(std::string_view bytes);

}  // namespace tessera
