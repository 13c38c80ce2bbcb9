// GPT-2's spelling of bytes as characters, which vocabularies of byte-level BPE are written in:
// printable Latin-1 characters stand for themselves, the other 68 bytes for U+0100 and on.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

class ByteAlphabet {
 public:
  ByteAlphabet();

  std::string spell(std::string_view bytes) const;
  // Nothing if `text` has a character that stands for no byte.
  std::optional<std::string> bytes(std::string_view text) const;

 private:
  std::array<uint16_t, 256> characters_;  // by byte
  std::array<int16_t, 324> bytes_;        // by character, -1 for none
};

}  // namespace tessera
