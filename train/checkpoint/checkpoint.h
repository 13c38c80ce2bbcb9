// Checkpoints: a folder of directories `step_N` and a link `latest` to the last one saved. Each
// holds
//   rank_0.h5: the tensors, whole; 16- and 8-bit floats as unsigned integers with an attribute
//     `dtype`;
//   master.h5: all tensors by name, as links to the rank files;
//   config.yaml, the resolved configuration; tokenizer.json; state.json;
//   manifest.json: format version, step, tokens, and sizes, shapes, dtypes and XXH64 checksums.
// A name `step_N` exists only for a complete checkpoint that is on the disk and has been read back;
// until then it is `.step_N.partial-PID`.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace tessera {

// Names may hold '/', which makes HDF5 groups ("optimizer/m/layers.0.attention.wq").
struct NamedTensor {
  std::string name;
  Tensor tensor;  // contiguous, on the cpu
};

struct TensorInfo {
  std::string name;
  Shape shape;
  DType dtype;
};

// A tensor that is made while it is written.
struct StreamedTensor {
  TensorInfo info;         // of at least one element
  int64_t block_rows = 1;  // rows along dimension 0 that are asked for at a time
  std::function<void(int64_t first, int64_t rows, std::byte* into)> read;
};

struct CheckpointMeta {
  int64_t step = 0;
  int64_t tokens = 0;  // seen so far
  std::string config_yaml;
  std::string tokenizer_json;
  std::string state_json;  // the trainer's own: data position, seed, schedule
};

// Saves into a folder, which is made if missing, and keeps the `keep` newest checkpoints. One
// process at a time saves into a folder.
class CheckpointStore {
 public:
  // Removes what dead processes left unfinished. Throws Error when the folder cannot be written.
  CheckpointStore(std::filesystem::path folder, int keep);

  const std::filesystem::path& folder() const { return folder_; }
  // Throws Error, with older checkpoints and `latest` as they were and nothing half-written left,
  // when the system refuses (full disk). A checkpoint of the same step is replaced. Needs no memory
  // in proportion to the tensors.
  void save(const CheckpointMeta& meta, std::span<const NamedTensor> tensors,
            std::span<const StreamedTensor> streamed = {});

 private:
  void point_latest_to(const std::string& name);
  void remove_old(int64_t newest_step);

  std::filesystem::path folder_;
  int keep_;
};

struct LatestCheckpoint {
  std::optional<std::filesystem::path> directory;
  std::vector<std::string> damaged;  // newer ones that were passed over: one line each, why
};

// The newest checkpoint of a folder whose every file has the size and checksum it was saved with.
LatestCheckpoint find_latest_checkpoint(const std::filesystem::path& folder);

// When files are compared with their checksums: all of them when the checkpoint is opened, or each
// tensor as it is read.
enum class Verify { at_once, as_read };

// Reads a `step_N` directory (or `latest`). Every failure is an Error that names the file.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::filesystem::path& directory,
                            Verify verify = Verify::at_once);
  ~CheckpointReader();
  CheckpointReader(CheckpointReader&&) noexcept;

  const std::filesystem::path& directory() const;
  const CheckpointMeta& meta() const;
  std::vector<TensorInfo> tensors() const;
  bool contains(std::string_view name) const;
  // Bit for bit into a contiguous tensor on the cpu; its shape and dtype must be the stored ones.
  void read(std::string_view name, const Tensor& into) const;
  // Rows [first, first + rows) along dimension 0 of a tensor of at least one, as they are stored.
  // The tensor's checksum is compared when it is first asked for.
  void read_rows(std::string_view name, int64_t first, int64_t rows, std::byte* into) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
