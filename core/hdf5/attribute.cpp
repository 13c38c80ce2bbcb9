#include "core/hdf5/attribute.h"

namespace tessera::hdf5 {
namespace {

void write(hid_t object, const char* name, hid_t type, const void* value) {
  const Handle space(H5Screate(H5S_SCALAR));
  const Handle attribute(
      checked(H5Acreate2(object, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
              "cannot create attribute {}", name));
  checked(H5Awrite(attribute.get(), type, value), "cannot write attribute {}", name);
}

Handle text_type() {
  Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

// The attribute, which must be a scalar of the type class.
Handle open(hid_t object, const char* name, H5T_class_t expected, const char* expected_name) {
  check(H5Aexists(object, name) > 0, "attribute {} is missing", name);
  Handle attribute(checked(H5Aopen(object, name, H5P_DEFAULT), "cannot open attribute {}", name));
  const Handle type(H5Aget_type(attribute.get())), space(H5Aget_space(attribute.get()));
  check(H5Tget_class(type.get()) == expected && H5Sget_simple_extent_npoints(space.get()) == 1,
        "attribute {} is not {}", name, expected_name);
  return attribute;
}

}  // namespace

void write_attribute(hid_t object, const char* name, const std::string& text) {
  const char* value = text.c_str();
  write(object, name, text_type().get(), &value);
}

void write_attribute(hid_t object, const char* name, int64_t value) {
  write(object, name, H5T_NATIVE_INT64, &value);
}

std::string read_text_attribute(hid_t object, const char* name) {
  const Handle attribute = open(object, name, H5T_STRING, "a text");
  const Handle stored(H5Aget_type(attribute.get()));
  if (!H5Tis_variable_str(stored.get())) {
    std::string text(H5Tget_size(stored.get()), '\0');
    checked(H5Aread(attribute.get(), stored.get(), text.data()), "cannot read attribute {}", name);
    return text.substr(0, text.find('\0'));
  }
  char* value = nullptr;
  checked(H5Aread(attribute.get(), stored.get(), &value), "cannot read attribute {}", name);
  const std::string text = value == nullptr ? "" : value;
  H5free_memory(value);
  return text;
}

int64_t read_integer_attribute(hid_t object, const char* name) {
  const Handle attribute = open(object, name, H5T_INTEGER, "an integer");
  int64_t value = 0;
  checked(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), "cannot read attribute {}", name);
  return value;
}

}  // namespace tessera::hdf5
