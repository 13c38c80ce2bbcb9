// HDF5 files: opened with a clear reason when that fails, written so that a full disk is an Error.
#pragma once

#include <filesystem>
#include <memory>

#include "core/files/file.h"
#include "core/hdf5/handle.h"
#include "core/hdf5/write_driver.h"

namespace tessera::hdf5 {

// Opens a file for reading. Throws Error when it is missing, unreadable, or not an intact HDF5
// file.
Handle open_file(const std::filesystem::path& path);

// A new HDF5 file (format of HDF5 1.10). Writes that fail show in check_written() and close();
// destroyed before close(), it leaves an incomplete file behind. Datasets and groups of the file
// are to be closed before.
class FileWriter {
 public:
  explicit FileWriter(std::filesystem::path path);
  ~FileWriter();
  FileWriter(FileWriter&&) = delete;

  hid_t id() const { return handle_.get(); }
  // Throws Error with the system's reason once anything could not be written.
  void check_written() const;
  // Returns when everything is on the disk.
  void close();

 private:
  WriteTarget target_;
  Handle handle_;
};

}  // namespace tessera::hdf5
