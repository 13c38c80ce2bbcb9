// The HDF5 files of a checkpoint. A tensor is a contiguous dataset with the attribute `dtype`.
#pragma once

#include <hdf5.h>

#include <filesystem>
#include <span>
#include <vector>

#include "train/checkpoint/manifest.h"

namespace tessera {

// The little-endian HDF5 type that holds the dtype's bits.
hid_t storage_type(DType dtype);

// Writes all tensors to `directory/name`, those that are streamed last. Tensors go from memory to
// the file without a copy.
std::vector<TensorRecord> write_rank_file(const std::filesystem::path& directory,
                                          const std::string& name, const CheckpointMeta& meta,
                                          std::span<const NamedTensor> tensors,
                                          std::span<const StreamedTensor> streamed);

// Writes the file that shows every tensor under its name, as an external link to its rank file.
void write_master_file(const std::filesystem::path& directory, const CheckpointMeta& meta,
                       std::span<const TensorRecord> tensors);

}  // namespace tessera
