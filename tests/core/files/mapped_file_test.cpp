#include "core/files/mapped_file.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "core/files/file.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

TEST(MappedFile, ShowsTheBytesEvenAfterTheyWereGivenBack) {
  const fs::path path = fs::path(testing::TempDir()) / "mapped_file_test.bin";
  const std::string text(10000, 'x');
  write_text_file(path, text);
  const MappedFile file(path);
  file.release(file.bytes());
  const auto* begin = reinterpret_cast<const char*>(file.bytes().data());
  EXPECT_EQ(std::string(begin, file.bytes().size()), text);
}

TEST(MappedFile, AnEmptyFileHasNoBytes) {
  const fs::path path = fs::path(testing::TempDir()) / "mapped_file_test.empty";
  write_text_file(path, "");
  EXPECT_TRUE(MappedFile(path).bytes().empty());
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  EXPECT_THROW(MappedFile("/no/such"), Error);
  EXPECT_THROW(MappedFile(testing::TempDir()), Error);
}

}  // namespace
}  // namespace tessera
