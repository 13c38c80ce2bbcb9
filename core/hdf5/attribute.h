// Attributes of HDF5 objects. A missing attribute or one of another type is an Error that names it.
#pragma once

#include <cstdint>
#include <string>

#include "core/hdf5/handle.h"

namespace tessera::hdf5 {

void write_attribute(hid_t object, const char* name, const std::string& text);  // UTF-8
void write_attribute(hid_t object, const char* name, int64_t value);

std::string read_text_attribute(hid_t object, const char* name);
int64_t read_integer_attribute(hid_t object, const char* name);

}  // namespace tessera::hdf5
