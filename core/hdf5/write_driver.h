// A file driver for HDF5 that survives a full disk.
//
// HDF5 cannot close a file it cannot write: H5Fclose fails, the file stays open inside the library,
// and the program crashes at its exit (seen with 1.10.8). This driver tells HDF5 that every write
// succeeded, keeps the first failure for us and drops what comes after it, so that closing always
// works.
#pragma once

#include <hdf5.h>

#include <system_error>

#include "core/files/file.h"

namespace tessera::hdf5 {

struct WriteTarget {
  File file;
  std::error_code error;  // the first write that failed
};

// Files created with the file access list `access` go to `target`, whatever their name; it must
// outlive them.
void use_write_driver(hid_t access, WriteTarget& target);

}  // namespace tessera::hdf5
