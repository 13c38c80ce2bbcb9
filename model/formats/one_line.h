#pragma once

#include <algorithm>
#include <string_view>

namespace tessera {

// Whether an error may show a text out of a file: it has no control characters.
inline bool is_one_line(std::string_view text) {
  return std::ranges::none_of(text, [](unsigned char c) { return c < ' ' || c == 127; });
}

}  // namespace tessera
