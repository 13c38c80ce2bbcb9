// safetensors: 8 bytes of header length (little-endian), a JSON header of names, dtypes, shapes and
// offsets, then the bytes of the tensors without holes.
#pragma once

#include "model/formats/file_weights.h"

namespace tessera {

// The tensors of one file, in the order of their bytes. Everything is validated before anything is
// allocated in proportion to a number the file claims: lengths, dtypes (F32, F16, BF16), shapes,
// offsets, overlaps and holes. Error naming the file and the tensor.
std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> file,
                                            const std::string& where);

// model.safetensors, or the shards that model.safetensors.index.json names, which must agree.
StoredModel open_safetensors(const std::filesystem::path& folder);

}  // namespace tessera
