#include "core/hdf5/file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/hdf5/attribute.h"

namespace tessera::hdf5 {
namespace {

namespace fs = std::filesystem;

class Hdf5FileTest : public testing::Test {
 protected:
  ~Hdf5FileTest() override {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }

  // A dataset of `size` bytes.
  static herr_t write_dataset(hid_t file, const char* name, hsize_t size) {
    const Handle space(H5Screate_simple(1, &size, nullptr));
    const Handle dataset(
        H5Dcreate2(file, name, H5T_STD_U8LE, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    const std::vector<uint8_t> bytes(size, 7);
    return H5Dwrite(dataset.get(), H5T_STD_U8LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data());
  }

  template <class Body>
  static std::string error_of(Body&& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path path_ =
      fs::path(testing::TempDir()) / fmt::format("tessera_hdf5_file_{}.h5", ::getpid());
};

TEST_F(Hdf5FileTest, AttributesComeBack) {
  FileWriter writer(path_);
  write_attribute(writer.id(), "text", std::string("na\xc3\xafve"));
  write_attribute(writer.id(), "empty", std::string());
  write_attribute(writer.id(), "number", int64_t{-5000000000});
  writer.close();
  const Quiet quiet;
  const Handle file = open_file(path_);
  EXPECT_EQ(read_text_attribute(file.get(), "text"), "na\xc3\xafve");
  EXPECT_EQ(read_text_attribute(file.get(), "empty"), "");
  EXPECT_EQ(read_integer_attribute(file.get(), "number"), -5000000000);
  EXPECT_EQ(error_of([&] { read_text_attribute(file.get(), "other"); }),
            "attribute other is missing");
  EXPECT_EQ(error_of([&] { read_integer_attribute(file.get(), "text"); }),
            "attribute text is not an integer");
}

TEST_F(Hdf5FileTest, WhatIsNoHdf5FileIsNamed) {
  EXPECT_EQ(error_of([&] { open_file(path_); }),
            "cannot read " + path_.string() + ": No such file or directory");
  write_text_file(path_, "a text");
  EXPECT_EQ(error_of([&] { open_file(path_); }), path_.string() + " is not an HDF5 file");
  FileWriter writer(path_);
  write_dataset(writer.id(), "bytes", 1000);
  writer.close();
  fs::resize_file(path_, fs::file_size(path_) - 100);
  const std::string error = error_of([&] { open_file(path_); });
  EXPECT_EQ(error.find("cannot read " + path_.string() + ", which is damaged: truncated file"), 0u)
      << error;
}

// What comes after the first failure cannot make the file whole again, even where the system would
// take it, and closing neither fails inside HDF5 nor crashes at exit.
TEST_F(Hdf5FileTest, TheFirstWriteThatFailsIsKept) {
  FileWriter writer(path_);
  rlimit unlimited{};
  ::getrlimit(RLIMIT_FSIZE, &unlimited);
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limited{10000, unlimited.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limited);
  EXPECT_GE(write_dataset(writer.id(), "large", 1 << 20), 0);
  ::setrlimit(RLIMIT_FSIZE, &unlimited);
  EXPECT_GE(write_dataset(writer.id(), "small", 100), 0);
  const std::string expected = "cannot write " + path_.string() + ": File too large";
  EXPECT_EQ(error_of([&] { writer.check_written(); }), expected);
  EXPECT_EQ(error_of([&] { writer.close(); }), expected);
}

}  // namespace
}  // namespace tessera::hdf5
