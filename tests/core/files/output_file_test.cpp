#include "core/files/output_file.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "tests/support/temporary_folder.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

class OutputFileTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path path_ = folder_ / "inner/out.txt";
};

TEST_F(OutputFileTest, AppearsWholeWithoutWhatWasReservedInVain) {
  OutputFile file(path_);
  file.reserve(1 << 16);
  write_text_file(file.temporary(), "text");
  EXPECT_FALSE(fs::exists(path_));
  file.commit();
  EXPECT_EQ(read_text_file(path_), "text");
  EXPECT_FALSE(fs::exists(file.temporary()));
}

TEST_F(OutputFileTest, LeavesAnOlderFileWithoutCommit) {
  fs::create_directories(path_.parent_path());
  write_text_file(path_, "older");
  {
    const OutputFile file(path_);
    write_text_file(file.temporary(), "newer");
  }
  EXPECT_EQ(read_text_file(path_), "older");
  EXPECT_EQ(std::distance(fs::directory_iterator(path_.parent_path()), {}), 1);
}

TEST_F(OutputFileTest, RefusesAFolder) {
  EXPECT_THROW(OutputFile{folder_.path()}, Error);
}

}  // namespace
}  // namespace tessera
