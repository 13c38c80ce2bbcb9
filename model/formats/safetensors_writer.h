#pragma once

#include <filesystem>

#include "model/formats/write_tensor.h"

namespace tessera {

struct SafetensorsOptions {
  StoredType type = StoredType::f32;         // of all tensors; not q8_0
  uint64_t max_shard_bytes = 5'000'000'000;  // of tensors; a larger tensor has its own shard
};

// Writes the tensors of `map` into `folder`, in this order: model.safetensors, or, where they are
// more than a shard may hold, model-00001-of-0000N.safetensors and so on with their index. Returns
// the bytes of the tensors when all is on the disk.
uint64_t write_safetensors(const std::filesystem::path& folder, const WeightSource& source,
                           const std::vector<MappedTensor>& map, const SafetensorsOptions& options,
                           const WriteProgress& progress);

}  // namespace tessera
