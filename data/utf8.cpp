#include "data/utf8.h"

#include <cstring>

namespace tessera {
namespace {

// What a lead byte demands: the length and the range of the second byte (RFC 3629, section 4).
struct Lead {
  size_t length;
  uint8_t second_min, second_max;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0)
    return {3, uint8_t(byte == 0xE0 ? 0xA0 : 0x80), uint8_t(byte == 0xED ? 0x9F : 0xBF)};
  if (byte < 0xF5)
    return {4, uint8_t(byte == 0xF0 ? 0x90 : 0x80), uint8_t(byte == 0xF4 ? 0x8F : 0xBF)};
  return {0, 0, 0};
}

}  // namespace

Utf8Sequence first_utf8(std::string_view bytes) {
  using enum Utf8Sequence::Kind;
  const auto byte = [&](size_t i) { return uint8_t(bytes[i]); };
  const Lead lead = lead_of(byte(0));
  if (lead.length == 1) return {valid, byte(0), 1};
  if (lead.length == 0) return {invalid, 0, 1};
  uint32_t code_point = byte(0) & (0x7Fu >> lead.length);
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {incomplete, 0, i};
    const uint8_t low = i == 1 ? lead.second_min : 0x80, high = i == 1 ? lead.second_max : 0xBF;
    if (byte(i) < low || byte(i) > high) return {invalid, 0, i};
    code_point = code_point << 6 | (byte(i) & 0x3Fu);
  }
  return {valid, code_point, lead.length};
}

size_t valid_utf8_prefix(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    uint64_t eight = 0;
    if (i + sizeof eight <= bytes.size()) {
      std::memcpy(&eight, bytes.data() + i, sizeof eight);
      if ((eight & 0x8080808080808080u) == 0) {
        i += sizeof eight;
        continue;
      }
    }
    const Utf8Sequence next = first_utf8(bytes.substr(i));
    if (next.kind != Utf8Sequence::Kind::valid) break;
    i += next.length;
  }
  return i;
}

void append_utf8(uint32_t code_point, std::string& out) {
  const auto put = [&](uint32_t byte) { out.push_back(char(byte)); };
  const auto tail = [&](int shift) { put(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6), tail(0);
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12), tail(6), tail(0);
  } else {
    put(0xF0 | code_point >> 18), tail(12), tail(6), tail(0);
  }
}

}  // namespace tessera
