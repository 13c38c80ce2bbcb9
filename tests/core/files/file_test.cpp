#include "core/files/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "core/check.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// What `action` throws, or "no error".
std::string error_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

fs::path fresh_path(const char* name) {
  const fs::path path = fs::path(testing::TempDir()) / name;
  fs::remove_all(path);
  return path;
}

TEST(File, WritesAndReadsAtOffsets) {
  const File file = File::create(fresh_path("file_test.bin"));
  EXPECT_FALSE(file.write_at(3, std::as_bytes(std::span("abc", 3))));
  EXPECT_EQ(file.size(), 6u);
  char text[8] = "-------";
  EXPECT_EQ(file.read_at(4, std::as_writable_bytes(std::span(text))), 2u) << "up to the end";
  EXPECT_STREQ(text, "bc-----");
  EXPECT_FALSE(file.truncate(2));
  EXPECT_EQ(file.size(), 2u);
}

TEST(File, KeepsText) {
  const fs::path path = fresh_path("file_test.txt");
  write_text_file(path, "first, and longer");
  write_text_file(path, "second");
  EXPECT_EQ(read_text_file(path), "second");
}

// The reason is that of the call that failed, not of an earlier one.
TEST(File, NamesPathAndReason) {
  EXPECT_EQ(error_of([] { File::open("/no/such"); }),
            "cannot read /no/such: No such file or directory");
  EXPECT_EQ(error_of([] { File::create("/no/such"); }),
            "cannot write /no/such: No such file or directory");
  EXPECT_EQ(error_of([] { write_text_file("/dev/full", "text"); }),
            "cannot write /dev/full: No space left on device");
  EXPECT_EQ(error_of([] { File::create("/dev/null").sync(); }),
            "cannot write /dev/null: Invalid argument");
  EXPECT_EQ(error_of([] { File().size(); }), "cannot read : Bad file descriptor");
  EXPECT_EQ(error_of([] { File().close(); }), "cannot write : Bad file descriptor");
}

TEST(File, ReservesRoomWithoutGrowing) {
  const File file = File::create(fresh_path("file_test.reserved"));
  EXPECT_FALSE(file.reserve(1 << 16));
  EXPECT_EQ(file.size(), 0u);
}

TEST(SyncDirectory, TakesFoldersThatMayNotBeRead) {
  const fs::path folder = fresh_path("sync_directory_test");
  fs::create_directory(folder);
  fs::permissions(folder, fs::perms(0333));
  const auto sync_as_nobody = [&] {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) std::exit(2);
    sync_directory(folder);
    std::exit(0);
  };
  EXPECT_EXIT(sync_as_nobody(), testing::ExitedWithCode(0), "");
}

TEST(SyncDirectory, TakesFoldersThatCannotBeFlushed) {
  EXPECT_EQ(error_of([] { sync_directory(testing::TempDir()); }), "no error");
  EXPECT_EQ(error_of([] { sync_directory("/proc"); }), "no error");
  EXPECT_EQ(error_of([] { sync_directory("/no/such"); }),
            "cannot write folder /no/such: No such file or directory");
}

}  // namespace
}  // namespace tessera
