// TFRecord, the framing of TensorBoard's files: each record is its length (uint64), a masked CRC of
// the length, the bytes, and a masked CRC of the bytes; all little-endian.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

// CRC-32C (Castagnoli), RFC 3720 section 12.1.
uint32_t crc32c(std::string_view bytes);

std::string tfrecord(std::string_view bytes);

}  // namespace tessera
