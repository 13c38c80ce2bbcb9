// GGUF, version 3 (and 2, which differs in nothing that is read here): a magic number, counts,
// metadata by key, descriptions of the tensors, then their bytes, each at a multiple of the
// alignment. Specification: docs/gguf.md of ggml.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "model/formats/write_tensor.h"

namespace tessera {

// The numbers by which files name the types of metadata.
enum class GgufType : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  text,
  array,
  u64,
  i64,
  f64
};

// Of numbers or texts; `bytes` hold what the count says.
struct GgufArray {
  GgufType type = GgufType::u8;
  uint64_t count = 0;
  std::span<const std::byte> bytes;
};

using GgufValue = std::variant<int64_t, double, bool, std::string_view, GgufArray>;

// Views into the file's bytes.
struct GgufFile {
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<StoredTensor> tensors;  // F32, F16, BF16, Q8_0
};

// Everything is validated before anything is allocated in proportion to a number the file claims:
// counts, lengths, types, extents, offsets, overlaps and holes. Error naming the file and the key
// or tensor.
GgufFile parse_gguf(std::span<const std::byte> file, const std::string& where);

using GgufField = std::variant<uint32_t, float, bool, std::string, std::vector<std::string>,
                               std::vector<float>, std::vector<int32_t>, std::vector<uint8_t>>;
using GgufMetadata = std::vector<std::pair<std::string, GgufField>>;

// A vector that is no weight.
struct GgufExtra {
  std::string name;
  std::vector<float> values;
};

// Writes version 3 with an alignment of 32: the extras and all weights of rank 1 as f32, matrices
// as `type`. Returns the bytes of the tensors when all is on the disk.
uint64_t write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                    const std::vector<GgufExtra>& extras, const WeightSource& source,
                    const std::vector<MappedTensor>& map, StoredType type,
                    const WriteProgress& progress);

}  // namespace tessera
