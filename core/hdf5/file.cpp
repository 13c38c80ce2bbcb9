#include "core/hdf5/file.h"

#include <utility>

namespace tessera::hdf5 {

Handle open_file(const std::filesystem::path& path) {
  const Quiet quiet;
  File::open(path);  // for the system's reason, which HDF5 does not pass on
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  check(is_hdf5 > 0, "{} is not an HDF5 file", path.string());
  return Handle(checked(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT),
                        "cannot read {}, which is damaged", path.string()));
}

FileWriter::FileWriter(std::filesystem::path path) : target_{File::create(std::move(path)), {}} {
  const Quiet quiet;
  const Handle access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
  use_write_driver(access.get(), target_);
  handle_ = Handle(
      checked(H5Fcreate(target_.file.path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()),
              "cannot write {}", target_.file.path().string()));
}

FileWriter::~FileWriter() {
  const Quiet quiet;
  handle_.reset();
}

void FileWriter::check_written() const {
  check(!target_.error, "cannot write {}: {}", target_.file.path().string(),
        target_.error.message());
}

void FileWriter::close() {
  const Quiet quiet;
  check_written();
  const herr_t status = H5Fclose(handle_.release());
  check_written();
  checked(status, "cannot write {}", target_.file.path().string());
  target_.file.sync();
  target_.file.close();
}

}  // namespace tessera::hdf5
