// Numbers of the GGUF format that its reader and its writer share.
#pragma once

#include <cstdint>
#include <optional>

#include "model/formats/stored_tensor.h"

namespace tessera::gguf {

inline constexpr char kMagic[4] = {'G', 'G', 'U', 'F'};
inline constexpr uint32_t kVersion = 3, kOldestVersion = 2;
inline constexpr uint64_t kAlignment = 32;  // where general.alignment says nothing
inline constexpr uint32_t kMostDimensions = 4;

struct TypeRow {
  StoredType type;
  uint32_t number;     // of a tensor's type
  uint32_t file_type;  // general.file_type of a file whose matrices have it
};
inline constexpr TypeRow kTypes[] = {{StoredType::f32, 0, 0},
                                     {StoredType::f16, 1, 1},
                                     {StoredType::bf16, 30, 32},
                                     {StoredType::q8_0, 8, 7}};

inline uint64_t aligned(uint64_t offset, uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

}  // namespace tessera::gguf
