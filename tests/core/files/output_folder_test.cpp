#include "core/files/output_folder.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "core/files/file.h"
#include "tests/support/temporary_folder.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

class OutputFolderTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path parent_ = folder_.path();
};

TEST_F(OutputFolderTest, AppearsWhole) {
  OutputFolder folder(parent_ / "out/");
  write_text_file(folder.temporary() / "a", "text");
  EXPECT_FALSE(fs::exists(parent_ / "out"));
  folder.publish();
  EXPECT_EQ(read_text_file(parent_ / "out/a"), "text");
}

TEST_F(OutputFolderTest, LeavesNothingWithoutPublish) {
  write_text_file(OutputFolder(parent_ / "out").temporary() / "a", "text");
  EXPECT_TRUE(fs::is_empty(parent_));
}

TEST_F(OutputFolderTest, RefusesAnExistingFolder) {
  fs::create_directory(parent_ / "out");
  EXPECT_THROW(OutputFolder(parent_ / "out"), Error);
}

}  // namespace
}  // namespace tessera
