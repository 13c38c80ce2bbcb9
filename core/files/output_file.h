// A file that appears whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>

#include "core/files/file.h"

namespace tessera {

// Stands for a temporary file beside `path`, whose folder is made if missing; commit() flushes it
// to disk and gives it its name. Destroyed before that, it removes the temporary file and leaves an
// older `path` as it was. Errors name the file and the system's reason.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& temporary() const { return temporary_; }

  // Claims disk space for the file to grow to `bytes`, or throws Error. A library that fails badly
  // when a write fails (HDF5 1.10 leaks the file and crashes at exit) can so be kept from meeting a
  // full disk. Where the file system cannot reserve, this does nothing.
  void reserve(uint64_t bytes);

  // To be called when whoever wrote the temporary file has closed it.
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  File file_;
};

}  // namespace tessera
