// How published files hold numbers, and what they are converted through: f32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/shape.h"

namespace tessera {

enum class StoredType : uint8_t {
  f32,
  f16,
  bf16,
  q8_0,  // GGUF: blocks of 32 elements of a row, an f16 scale and 32 signed bytes
};

std::string_view name_of(StoredType type);
// Nothing for a name that name_of() does not give.
std::optional<StoredType> stored_type_named(std::string_view name);

inline constexpr int64_t kQ8BlockElements = 32, kQ8BlockBytes = 34;

// Bytes of `elements` (of whole blocks); nothing where that is above the largest size_t.
std::optional<size_t> stored_bytes(StoredType type, int64_t elements);

// The product of non-negative extents; nothing where it is above the largest int64_t.
std::optional<int64_t> element_count(std::span<const int64_t> dims);

// A tensor inside a mapped file; `bytes` need not be aligned.
struct StoredTensor {
  std::string name;
  Shape shape;
  StoredType type = StoredType::f32;
  std::span<const std::byte> bytes;
};

// Into `to.size()` floats, of whole blocks. Exact.
void decode(StoredType type, const std::byte* from, std::span<float> to);
// Rounds to nearest even; q8_0: scale is the largest magnitude / 127, elements to the nearest,
// halves away from zero (as llama.cpp's reference).
void encode(StoredType type, std::span<const float> from, std::byte* to);

}  // namespace tessera
