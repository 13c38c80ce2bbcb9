// Fills a directory with the files of one checkpoint.
#pragma once

#include <filesystem>
#include <span>

#include "train/checkpoint/checkpoint.h"

namespace tessera {

// Returns when every file is on the disk and has been read back with the right checksums.
void write_checkpoint(const std::filesystem::path& directory, const CheckpointMeta& meta,
                      std::span<const NamedTensor> tensors,
                      std::span<const StreamedTensor> streamed);

}  // namespace tessera
