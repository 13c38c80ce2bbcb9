// Names and sizes that the reader and the writer of token files share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::token_layout {

inline constexpr const char* kFormatName = "tessera-tokens";
inline constexpr uint32_t kFormatVersion = 1;
// A file with loss masks, so that a program that would overlook them refuses it.
inline constexpr uint32_t kMaskedFormatVersion = 2;

inline constexpr const char* kFormat = "format";
inline constexpr const char* kVersion = "format_version";
inline constexpr const char* kTokenizer = "tokenizer";
inline constexpr const char* kTokenizerHash = "tokenizer_hash";
inline constexpr const char* kTokenizerJson = "tokenizer_json";
inline constexpr const char* kVocabularySize = "vocabulary_size";

inline constexpr const char* kTokens = "tokens";
inline constexpr const char* kLossMask = "loss_mask";
inline constexpr const char* kDocumentOffsets = "document_offsets";

// Elements per HDF5 chunk: the unit of compression, so a random read decompresses 32 KiB (uint16
// tokens, or offsets).
inline constexpr size_t kTokenChunk = 16384;
inline constexpr size_t kOffsetChunk = 4096;

}  // namespace tessera::token_layout
