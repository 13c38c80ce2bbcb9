// UTF-8 as in RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

inline constexpr uint32_t kMaxCodePoint = 0x10FFFF;

struct Utf8Sequence {
  enum class Kind : uint8_t { valid, incomplete, invalid };
  Kind kind = Kind::invalid;
  uint32_t code_point = 0;  // of a valid sequence
  // Bytes of the sequence; of the longest prefix of a valid one (at least 1) when it is not valid.
  size_t length = 0;
};

// The sequence at the start of `bytes`, which must not be empty. Incomplete: valid so far, but cut.
Utf8Sequence first_utf8(std::string_view bytes);

// How many bytes at the start of `bytes` are whole, valid sequences.
size_t valid_utf8_prefix(std::string_view bytes);
inline bool is_utf8(std::string_view bytes) {
  return valid_utf8_prefix(bytes) == bytes.size();
}

void append_utf8(uint32_t code_point, std::string& out);

}  // namespace tessera
