#include "data/tokenizers/byte_alphabet.h"

#include "data/utf8.h"

namespace tessera {

ByteAlphabet::ByteAlphabet() {
  bytes_.fill(-1);
  uint16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    characters_[size_t(byte)] = itself ? uint16_t(byte) : next++;
    bytes_[characters_[size_t(byte)]] = int16_t(byte);
  }
}

std::string ByteAlphabet::spell(std::string_view bytes) const {
  std::string text;
  for (char c : bytes) append_utf8(characters_[uint8_t(c)], text);
  return text;
}

std::optional<std::string> ByteAlphabet::bytes(std::string_view text) const {
  std::string result;
  while (!text.empty()) {
    const Utf8Sequence next = first_utf8(text);
    if (next.kind != Utf8Sequence::Kind::valid || next.code_point >= bytes_.size() ||
        bytes_[next.code_point] < 0) {
      return std::nullopt;
    }
    result.push_back(char(bytes_[next.code_point]));
    text.remove_prefix(next.length);
  }
  return result;
}

}  // namespace tessera
