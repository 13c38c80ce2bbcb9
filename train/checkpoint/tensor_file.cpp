#include "train/checkpoint/tensor_file.h"

#include <algorithm>
#include <array>

#include "core/hdf5/attribute.h"
#include "core/hdf5/file.h"
#include "core/transfer.h"
#include "train/checkpoint/checksum.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using hdf5::checked;
using hdf5::Handle;

Handle groups_on_demand() {
  Handle settings(H5Pcreate(H5P_LINK_CREATE));
  H5Pset_create_intermediate_group(settings.get(), 1);
  return settings;
}

// Space at a known place from the start and no filling, so that every byte is written once.
Handle plain_layout() {
  Handle settings(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_layout(settings.get(), H5D_CONTIGUOUS);
  H5Pset_alloc_time(settings.get(), H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(settings.get(), H5D_FILL_TIME_NEVER);
  return settings;
}

Handle dataspace(const Shape& shape) {
  if (shape.rank() == 0) return Handle(H5Screate(H5S_SCALAR));
  std::array<hsize_t, Shape::kMaxRank> dims{};
  std::copy(shape.begin(), shape.end(), dims.begin());
  return Handle(H5Screate_simple(shape.rank(), dims.data(), nullptr));
}

void write_header(hid_t file, const CheckpointMeta& meta) {
  hdf5::write_attribute(file, "format", std::string("tessera-checkpoint"));
  hdf5::write_attribute(file, "step", meta.step);
  hdf5::write_attribute(file, "tokens", meta.tokens);
}

// A dataset that is filled by rows from the first to the last.
class DatasetWriter {
 public:
  DatasetWriter(hid_t file, const std::string& file_name, TensorInfo info)
      : type_(storage_type(info.dtype)),
        space_(dataspace(info.shape)),
        dataset_(checked(H5Dcreate2(file, info.name.c_str(), type_, space_.get(),
                                    groups_on_demand().get(), plain_layout().get(), H5P_DEFAULT),
                         "cannot store tensor {}", info.name)),
        record_{std::move(info), file_name, 0, 0, 0} {
    hdf5::write_attribute(dataset_.get(), "dtype", std::string(name_of(record_.info.dtype)));
  }

  // Of a tensor of rank 0: the only element.
  void append(std::span<const std::byte> bytes, int64_t rows) {
    const std::string& name = record_.info.name;
    checksum_.update(bytes);
    record_.bytes += bytes.size();
    if (bytes.empty()) return;
    Shape shape = record_.info.shape;
    if (shape.rank() > 0) select(shape, rows);
    const Handle memory = dataspace(shape);
    checked(H5Dwrite(dataset_.get(), type_, memory.get(), space_.get(), H5P_DEFAULT, bytes.data()),
            "cannot store tensor {}", name);
    next_row_ += rows;
  }

  TensorRecord finish() {
    record_.checksum = checksum_.value();
    if (record_.bytes > 0) record_.offset = H5Dget_offset(dataset_.get());
    return std::move(record_);
  }

 private:
  // Turns `shape` into that of the next rows and selects them in the file.
  void select(Shape& shape, int64_t rows) {
    shape[0] = rows;
    std::array<hsize_t, Shape::kMaxRank> start{}, count{};
    std::copy(shape.begin(), shape.end(), count.begin());
    start[0] = hsize_t(next_row_);
    checked(H5Sselect_hyperslab(space_.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(),
                                nullptr),
            "cannot store tensor {}", record_.info.name);
  }

  hid_t type_;
  Handle space_, dataset_;
  TensorRecord record_;
  Checksum checksum_;
  int64_t next_row_ = 0;
};

TensorRecord write_tensor(hid_t file, const std::string& file_name, const NamedTensor& named) {
  const Tensor tensor = to_host(named.tensor);
  DatasetWriter writer(file, file_name, {named.name, tensor.shape(), tensor.dtype()});
  writer.append(std::span(tensor.raw(), tensor.bytes()), tensor.rank() > 0 ? tensor.shape(0) : 1);
  return writer.finish();
}

TensorRecord write_streamed(hid_t file, const std::string& file_name,
                            const StreamedTensor& streamed) {
  const TensorInfo& info = streamed.info;
  const int64_t rows = info.shape[0];
  const size_t row_bytes = size_t(info.shape.elements() / rows) * size_of(info.dtype);
  DatasetWriter writer(file, file_name, info);
  std::vector<std::byte> block(size_t(std::min(rows, streamed.block_rows)) * row_bytes);
  for (int64_t first = 0; first < rows; first += streamed.block_rows) {
    const int64_t count = std::min(streamed.block_rows, rows - first);
    streamed.read(first, count, block.data());
    writer.append(std::span(block).first(size_t(count) * row_bytes), count);
  }
  return writer.finish();
}

}  // namespace

hid_t storage_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return H5T_IEEE_F32LE;
    case DType::f64:
      return H5T_IEEE_F64LE;
    case DType::f16:
    case DType::bf16:
      return H5T_STD_U16LE;
    case DType::i32:
      return H5T_STD_I32LE;
    case DType::i64:
      return H5T_STD_I64LE;
    case DType::e4m3:
    case DType::e5m2:
    case DType::u8:
      return H5T_STD_U8LE;
  }
  fail("dtype {} has no storage type", int(dtype));
}

std::vector<TensorRecord> write_rank_file(const fs::path& directory, const std::string& name,
                                          const CheckpointMeta& meta,
                                          std::span<const NamedTensor> tensors,
                                          std::span<const StreamedTensor> streamed) {
  const hdf5::Quiet quiet;
  hdf5::FileWriter file(directory / name);
  write_header(file.id(), meta);
  std::vector<TensorRecord> records;
  for (const NamedTensor& tensor : tensors) {
    records.push_back(write_tensor(file.id(), name, tensor));
    file.check_written();
  }
  for (const StreamedTensor& tensor : streamed) {
    records.push_back(write_streamed(file.id(), name, tensor));
    file.check_written();
  }
  file.close();
  return records;
}

void write_master_file(const fs::path& directory, const CheckpointMeta& meta,
                       std::span<const TensorRecord> tensors) {
  const hdf5::Quiet quiet;
  hdf5::FileWriter file(directory / checkpoint_files::kMaster);
  write_header(file.id(), meta);
  const Handle links = groups_on_demand();
  for (const TensorRecord& tensor : tensors) {
    const char* name = tensor.info.name.c_str();
    checked(
        H5Lcreate_external(tensor.file.c_str(), name, file.id(), name, links.get(), H5P_DEFAULT),
        "cannot link tensor {}", name);
  }
  file.close();
}

}  // namespace tessera
