#include "model/formats/stored_tensor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/dtype.h"

namespace tessera {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"f32", "f16", "bf16", "q8_0"};

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <class T>
void decode_as(const std::byte* from, std::span<float> to) {
  for (size_t i = 0; i < to.size(); ++i) to[i] = to_float(load<T>(from + i * sizeof(T)));
}

template <class T>
void encode_as(std::span<const float> from, std::byte* to) {
  for (size_t i = 0; i < from.size(); ++i) {
    const T value = from_float<T>(from[i]);
    std::memcpy(to + i * sizeof(T), &value, sizeof(T));
  }
}

void decode_q8(const std::byte* from, std::span<float> to) {
  for (size_t i = 0; i < to.size(); i += kQ8BlockElements, from += kQ8BlockBytes) {
    const float scale = to_float(load<f16>(from));
    for (size_t j = 0; j < kQ8BlockElements; ++j)
      to[i + j] = scale * float(load<int8_t>(from + sizeof(f16) + j));
  }
}

void encode_q8(std::span<const float> from, std::byte* to) {
  for (size_t i = 0; i < from.size(); i += kQ8BlockElements, to += kQ8BlockBytes) {
    const std::span<const float> block = from.subspan(i, kQ8BlockElements);
    float largest = 0;
    for (float x : block) largest = std::max(largest, std::abs(x));
    const float scale = largest / 127, inverse = scale > 0 ? 1 / scale : 0;
    const f16 stored = from_float<f16>(scale);
    std::memcpy(to, &stored, sizeof(stored));
    for (size_t j = 0; j < block.size(); ++j) {
      const float rounded = std::clamp(std::round(block[j] * inverse), -127.0f, 127.0f);
      to[sizeof(f16) + j] = std::byte(int8_t(std::isfinite(rounded) ? rounded : 0));
    }
  }
}

}  // namespace

std::string_view name_of(StoredType type) {
  return kNames[size_t(type)];
}

std::optional<StoredType> stored_type_named(std::string_view name) {
  const auto found = std::ranges::find(kNames, name);
  if (found == kNames.end()) return {};
  return StoredType(found - kNames.begin());
}

std::optional<size_t> stored_bytes(StoredType type, int64_t elements) {
  int64_t bytes = 0;
  const bool blocks = type == StoredType::q8_0;
  const int64_t units = blocks ? elements / kQ8BlockElements : elements;
  const int64_t size = blocks ? kQ8BlockBytes : type == StoredType::f32 ? 4 : 2;
  if (__builtin_mul_overflow(units, size, &bytes)) return {};
  return size_t(bytes);
}

std::optional<int64_t> element_count(std::span<const int64_t> dims) {
  int64_t count = 1;
  for (int64_t extent : dims)
    if (extent < 0 || __builtin_mul_overflow(count, extent, &count)) return {};
  return count;
}

void decode(StoredType type, const std::byte* from, std::span<float> to) {
  switch (type) {
    case StoredType::f32:
      return decode_as<float>(from, to);
    case StoredType::f16:
      return decode_as<f16>(from, to);
    case StoredType::bf16:
      return decode_as<bf16>(from, to);
    case StoredType::q8_0:
      return decode_q8(from, to);
  }
}

void encode(StoredType type, std::span<const float> from, std::byte* to) {
  switch (type) {
    case StoredType::f32:
      return encode_as<float>(from, to);
    case StoredType::f16:
      return encode_as<f16>(from, to);
    case StoredType::bf16:
      return encode_as<bf16>(from, to);
    case StoredType::q8_0:
      return encode_q8(from, to);
  }
}

}  // namespace tessera
