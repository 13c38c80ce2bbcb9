// Bytes in JSON: base64 with padding (RFC 4648, section 4).
#pragma once

#include <string>
#include <string_view>

namespace tessera {

std::string to_base64(std::string_view bytes);

// Throws Error for anything that to_base64() does not write.
std::string from_base64(std::string_view text);

}  // namespace tessera
