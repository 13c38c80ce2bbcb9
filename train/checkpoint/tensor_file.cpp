#include "train/checkpoint/tensor_file.h"

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

TensorRecord write_tensor(hid_t file, const std::string& file_name, const NamedTensor& named) {
  const Tensor tensor = to_host(named.tensor);
  const hid_t type = storage_type(tensor.dtype());
  const Handle space = dataspace(tensor.shape());
  const Handle dataset(
      checked(H5Dcreate2(file, named.name.c_str(), type, space.get(), groups_on_demand().get(),
                         plain_layout().get(), H5P_DEFAULT),
              "cannot store tensor {}", named.name));
  hdf5::write_attribute(dataset.get(), "dtype", std::string(name_of(tensor.dtype())));
  TensorRecord record{{named.name, tensor.shape(), tensor.dtype()}, file_name, 0, 0, 0};
  record.bytes = tensor.bytes();
  record.checksum = Checksum::of(std::span(tensor.raw(), tensor.bytes()));
  if (record.bytes == 0) return record;
  record.offset = H5Dget_offset(dataset.get());
  checked(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.raw()),
          "cannot store tensor {}", named.name);
  return record;
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
                                          std::span<const NamedTensor> tensors) {
  const hdf5::Quiet quiet;
  hdf5::FileWriter file(directory / name);
  write_header(file.id(), meta);
  std::vector<TensorRecord> records;
  for (const NamedTensor& tensor : tensors) {
    records.push_back(write_tensor(file.id(), name, tensor));
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
