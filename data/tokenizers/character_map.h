// The table of replacements in a SentencePiece model (precompiled_charsmap).
#pragma once

#include <string_view>

namespace tessera {

// The library walks the table without checks. Throws Error unless every walk stays within it.
//
// Layout, little-endian: uint32 size of the trie in bytes; the trie, a double array of uint32 units
// (Darts-clone); then the replacements, each ended by a NUL byte.
void check_character_map(std::string_view bytes);

}  // namespace tessera
