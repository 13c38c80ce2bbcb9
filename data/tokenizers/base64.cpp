#include "data/tokenizers/base64.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/check.h"

namespace tessera {
namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::array<int8_t, 256> digit_values() {
  std::array<int8_t, 256> values;
  values.fill(-1);
  for (size_t i = 0; i < kDigits.size(); ++i) values[uint8_t(kDigits[i])] = int8_t(i);
  return values;
}

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? uint8_t(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) {
      text.push_back(k <= count ? kDigits[group >> (18 - 6 * k) & 63] : '=');
    }
  }
  return text;
}

std::string from_base64(std::string_view text) {
  check(text.size() % 4 == 0, "base64 of {} characters; it must be a multiple of 4", text.size());
  const std::array<int8_t, 256> values = digit_values();
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    const bool final_group = i + 4 == text.size();
    const size_t padding = !final_group                        ? 0
                           : text.substr(i, 4).ends_with("==") ? 2
                           : text.ends_with('=')               ? 1
                                                               : 0;
    uint32_t group = 0;
    for (size_t k = 0; k < 4; ++k) {
      const int value = k < 4 - padding ? values[uint8_t(text[i + k])] : 0;
      check(value >= 0, "character {} is not base64", i + k);
      group = group << 6 | uint32_t(value);
    }
    for (size_t k = 0; k < 3 - padding; ++k) bytes.push_back(char(group >> (16 - 8 * k)));
  }
  return bytes;
}

}  // namespace tessera
