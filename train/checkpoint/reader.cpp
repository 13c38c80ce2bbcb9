#include <array>
#include <map>
#include <set>

#include "core/files/file.h"
#include "core/hdf5/attribute.h"
#include "core/hdf5/file.h"
#include "core/transfer.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/checksum.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/tensor_file.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
namespace files = checkpoint_files;
using hdf5::checked;
using hdf5::Handle;

// A text file of the checkpoint, compared with its record.
std::string read_text(const fs::path& directory, const Manifest& manifest, const char* name) {
  for (const FileRecord& record : manifest.files)
    if (record.name == name) verify_file(directory, record);
  return read_text_file(directory / name);
}

// `latest` may come to name another directory while this one is read.
fs::path resolve(const fs::path& directory) {
  std::error_code error;
  const fs::path target = fs::read_symlink(directory, error);
  return error ? directory : directory.parent_path() / target;
}

// Opened by its absolute name: links are looked up beside it.
Handle open_master(const fs::path& directory) {
  return hdf5::open_file(fs::absolute(directory) / files::kMaster);
}

Shape shape_of(hid_t dataset) {
  const Handle space(H5Dget_space(dataset));
  const int rank = H5Sget_simple_extent_ndims(space.get());
  check(rank >= 0 && rank <= Shape::kMaxRank, "it has rank {}", rank);
  std::array<hsize_t, Shape::kMaxRank> dims{};
  H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  std::array<int64_t, Shape::kMaxRank> extents{};
  std::copy(dims.begin(), dims.end(), extents.begin());
  return Shape(std::span<const int64_t>(extents.data(), size_t(rank)));
}

// Reads the dataset, which must be what the manifest says.
void read_dataset(hid_t master, const TensorRecord& record, std::span<std::byte> into) {
  const hid_t type = storage_type(record.info.dtype);
  const Handle dataset(
      checked(H5Dopen2(master, record.info.name.c_str(), H5P_DEFAULT), "it cannot be opened"));
  const Handle stored_type(H5Dget_type(dataset.get()));
  check(shape_of(dataset.get()) == record.info.shape && H5Tequal(stored_type.get(), type) > 0 &&
            hdf5::read_text_attribute(dataset.get(), "dtype") == name_of(record.info.dtype),
        "its shape or type is not the one in {}", files::kManifest);
  if (record.bytes == 0) return;
  checked(H5Dread(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, into.data()),
          "it cannot be read");
  check(Checksum::of(into) == record.checksum, "its checksum does not match");
}

}  // namespace

struct CheckpointReader::Impl {
  Impl(const fs::path& path, Verify verify)
      : directory(resolve(path)), manifest(read_manifest(directory)) {
    if (verify == Verify::at_once) verify_files(directory, manifest);
    meta = {manifest.step, manifest.tokens, read_text(directory, manifest, files::kConfig),
            read_text(directory, manifest, files::kTokenizer),
            read_text(directory, manifest, files::kState)};
    master = open_master(directory);
    for (const TensorRecord& tensor : manifest.tensors) by_name[tensor.info.name] = &tensor;
  }

  fs::path directory;
  Manifest manifest;
  CheckpointMeta meta;
  Handle master;
  const TensorRecord& record_of(std::string_view name) const {
    const auto found = by_name.find(name);
    check(found != by_name.end(),
          "{} has no tensor {}: it is a checkpoint of another model; use the settings in its {}",
          directory.string(), name, files::kConfig);
    return *found->second;
  }

  std::map<std::string, const TensorRecord*, std::less<>> by_name;
  std::set<std::string, std::less<>> verified;  // tensors that were read by rows
};

CheckpointReader::CheckpointReader(const fs::path& directory, Verify verify)
    : impl_(std::make_unique<Impl>(directory, verify)) {}
CheckpointReader::~CheckpointReader() = default;
CheckpointReader::CheckpointReader(CheckpointReader&&) noexcept = default;

const fs::path& CheckpointReader::directory() const {
  return impl_->directory;
}

const CheckpointMeta& CheckpointReader::meta() const {
  return impl_->meta;
}

std::vector<TensorInfo> CheckpointReader::tensors() const {
  std::vector<TensorInfo> infos;
  for (const TensorRecord& tensor : impl_->manifest.tensors) infos.push_back(tensor.info);
  return infos;
}

bool CheckpointReader::contains(std::string_view name) const {
  return impl_->by_name.contains(name);
}

void CheckpointReader::read(std::string_view name, const Tensor& into) const {
  const hdf5::Quiet quiet;
  const TensorRecord& record = impl_->record_of(name);
  const std::string file = (impl_->directory / record.file).string();
  check(into.shape() == record.info.shape,
        "{}: tensor {} has shape {}, the model needs {}: it is a checkpoint of another shape; use "
        "the model sizes in its {}",
        file, name, record.info.shape, into.shape(), files::kConfig);
  check(into.dtype() == record.info.dtype,
        "{}: tensor {} is {}, the model needs {}: use the precision in its {}", file, name,
        record.info.dtype, into.dtype(), files::kConfig);
  check(into.device() != Device::meta && into.is_contiguous(),
        "{}: tensor {} is to be read into a contiguous tensor with data", file, name);
  std::vector<std::byte> staged(is_host_readable(into.device()) ? 0 : into.bytes());
  const std::span bytes = staged.empty() ? std::span(into.raw(), into.bytes()) : std::span(staged);
  try {
    read_dataset(impl_->master.get(), record, bytes);
  } catch (const Error& error) {
    fail("{}: tensor {}: {}: the checkpoint is damaged", file, name, error.what());
  }
  if (!staged.empty()) upload(into, staged.data());
}

void CheckpointReader::read_rows(std::string_view name, int64_t first, int64_t rows,
                                 std::byte* into) const {
  const TensorRecord& record = impl_->record_of(name);
  const File file = File::open(impl_->directory / record.file);
  const uint64_t size = file.size();
  const bool inside = record.offset <= size && record.bytes <= size - record.offset;
  if (!impl_->verified.contains(name)) {
    check(inside && Checksum::of(file, record.offset, record.bytes) == record.checksum,
          "{}: tensor {}: its checksum does not match: the checkpoint is damaged",
          file.path().string(), name);
    impl_->verified.emplace(name);
  }
  const uint64_t row_bytes = record.bytes / uint64_t(record.info.shape[0]);
  const std::span<std::byte> bytes(into, size_t(uint64_t(rows) * row_bytes));
  check(file.read_at(record.offset + uint64_t(first) * row_bytes, bytes) == bytes.size(),
        "{}: tensor {} is cut off: the checkpoint is damaged", file.path().string(), name);
}

}  // namespace tessera
