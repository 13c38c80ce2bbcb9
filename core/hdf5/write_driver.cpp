#include "core/hdf5/write_driver.h"
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>

#include "core/hdf5/handle.h"

namespace tessera::hdf5 {
namespace {

// What HDF5 holds for an open file; the public part comes first, as its interface asks.
struct OpenFile {
  H5FD_t base;
  WriteTarget* target;
  haddr_t end_of_allocation;
  haddr_t end_of_file;
};

OpenFile& self(H5FD_t* file) {
  return *reinterpret_cast<OpenFile*>(file);
}
const OpenFile& self(const H5FD_t* file) {
  return *reinterpret_cast<const OpenFile*>(file);
}

H5FD_t* open(const char*, unsigned, hid_t access, haddr_t) {
  WriteTarget* const* target = static_cast<WriteTarget* const*>(H5Pget_driver_info(access));
  if (target == nullptr) return nullptr;
  OpenFile* const file = new (std::nothrow) OpenFile{{}, *target, 0, 0};
  return file == nullptr ? nullptr : &file->base;
}

herr_t close(H5FD_t* file) {
  delete &self(file);
  return 0;
}

herr_t query(const H5FD_t*, unsigned long* features) {
  *features = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
              H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t end_of_allocation(const H5FD_t* file, H5FD_mem_t) {
  return self(file).end_of_allocation;
}

herr_t set_end_of_allocation(H5FD_t* file, H5FD_mem_t, haddr_t end) {
  self(file).end_of_allocation = end;
  return 0;
}

haddr_t end_of_file(const H5FD_t* file, H5FD_mem_t) {
  return self(file).end_of_file;
}

// What was dropped, or lies beyond the end, reads as zeros.
herr_t read(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, size_t size, void* buffer) {
  const std::span bytes(static_cast<std::byte*>(buffer), size);
  try {
    const size_t n = self(file).target->file.read_at(address, bytes);
    std::fill(bytes.begin() + n, bytes.end(), std::byte{0});
    return 0;
  } catch (const Error&) {
    return -1;
  }
}

herr_t write(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, size_t size, const void* buffer) {
  OpenFile& open_file = self(file);
  WriteTarget& target = *open_file.target;
  if (!target.error) {
    target.error =
        target.file.write_at(address, std::span(static_cast<const std::byte*>(buffer), size));
  }
  open_file.end_of_file = std::max(open_file.end_of_file, haddr_t(address + size));
  return 0;
}

// HDF5 refuses a file whose size is not the end of allocation that its header tells.
herr_t truncate(H5FD_t* file, hid_t, hbool_t) {
  OpenFile& open_file = self(file);
  WriteTarget& target = *open_file.target;
  if (!target.error) target.error = target.file.truncate(open_file.end_of_allocation);
  open_file.end_of_file = open_file.end_of_allocation;
  return 0;
}

H5FD_class_t driver_class() {
  H5FD_class_t driver{};
#if H5_VERSION_GE(1, 13, 0)
  driver.version = H5FD_CLASS_VERSION;
  driver.value = H5FD_class_value_t(600);  // HDF5 leaves 512 to 65535 to unregistered drivers
#endif
  driver.name = "tessera_write";
  driver.maxaddr = haddr_t(std::numeric_limits<int64_t>::max());
  driver.fc_degree = H5F_CLOSE_STRONG;  // nothing may write once the target is gone
  driver.fapl_size = sizeof(WriteTarget*);
  driver.open = open;
  driver.close = close;
  driver.query = query;
  driver.get_eoa = end_of_allocation;
  driver.set_eoa = set_end_of_allocation;
  driver.get_eof = end_of_file;
  driver.read = read;
  driver.write = write;
  driver.truncate = truncate;
  constexpr H5FD_mem_t kFreeLists[] = H5FD_FLMAP_DICHOTOMY;
  std::copy(std::begin(kFreeLists), std::end(kFreeLists), driver.fl_map);
  return driver;
}

}  // namespace

void use_write_driver(hid_t access, WriteTarget& target) {
  const H5FD_class_t driver = driver_class();
  const Handle id(checked(H5FDregister(&driver), "HDF5 refuses the file driver"));
  WriteTarget* const info = &target;
  checked(H5Pset_driver(access, id.get(), &info), "HDF5 refuses the file driver");
}

}  // namespace tessera::hdf5
