// Weights into files, a block of rows at a time.
#pragma once

#include <functional>

#include "core/files/file.h"
#include "model/formats/tensor_map.h"
#include "model/formats/weight_source.h"

namespace tessera {

// Told how many more bytes have been written.
using WriteProgress = std::function<void(uint64_t bytes)>;

// Bytes of `shape` as `type`. Error, naming the tensor, for q8_0 rows that are not whole blocks.
uint64_t written_bytes(const MappedTensor& tensor, StoredType type);

// Writes the tensor's rows from `offset` on, in the file's order, rounded to `type`. Needs memory
// for a block of rows only. Error naming the file where the system refuses.
void write_tensor(const File& file, uint64_t offset, const WeightSource& source,
                  const MappedTensor& tensor, StoredType type, const WriteProgress& progress);

// Error naming the file and the reason unless all bytes were written.
void write_bytes(const File& file, uint64_t offset, std::span<const std::byte> bytes);

}  // namespace tessera
