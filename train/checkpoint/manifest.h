// manifest.json of a checkpoint: what its files and tensors must be.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/checkpoint/checkpoint.h"

namespace tessera {

namespace checkpoint_files {
inline constexpr const char* kManifest = "manifest.json";
inline constexpr const char* kMaster = "master.h5";
inline constexpr const char* kRank0 = "rank_0.h5";
inline constexpr const char* kConfig = "config.yaml";
inline constexpr const char* kTokenizer = "tokenizer.json";
inline constexpr const char* kState = "state.json";
}  // namespace checkpoint_files

struct FileRecord {
  std::string name;
  uint64_t bytes = 0;
  uint64_t checksum = 0;
};

struct TensorRecord {
  TensorInfo info;
  std::string file;     // the rank file that holds it
  uint64_t offset = 0;  // of its first byte in that file
  uint64_t bytes = 0;
  uint64_t checksum = 0;
};

struct Manifest {
  int64_t step = 0;
  int64_t tokens = 0;
  std::vector<FileRecord> files;
  std::vector<TensorRecord> tensors;
};

// The text protects itself by a checksum of its own.
std::string to_json(const Manifest& manifest);
// Throws Error when the file is missing, damaged, or of another format version.
Manifest read_manifest(const std::filesystem::path& directory);

// The record of a file as it is on the disk.
FileRecord describe_file(const std::filesystem::path& directory, const std::string& name);
// Throws Error unless the file has the recorded size and checksum.
void verify_file(const std::filesystem::path& directory, const FileRecord& record);
// All files of the manifest, sizes first.
void verify_files(const std::filesystem::path& directory, const Manifest& manifest);

}  // namespace tessera
