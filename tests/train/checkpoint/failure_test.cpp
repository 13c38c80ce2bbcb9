// Crashes, full disks and folders that cannot be written.
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "tests/train/checkpoint/fixture.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

class CheckpointFailureTest : public CheckpointTest {
 protected:
  // A process that saves step after step until it is killed.
  pid_t start_saving(int64_t first_step) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    try {
      CheckpointStore store(folder_, 2);
      for (int64_t step = first_step;; ++step) store.save(meta(step), model(step));
    } catch (...) {
    }
    ::_exit(1);
  }

  bool has_leftovers() const {
    for (const std::string& name : names())
      if (name.find(".partial-") != std::string::npos) return true;
    return false;
  }
};

TEST_F(CheckpointFailureTest, AKillAtAnyMomentLeavesAGoodCheckpoint) {
  save(2, 0);
  const Philox random_delay(1, purpose_id("kill"), 0);
  int64_t step = 0;
  int killed_while_saving = 0;
  for (uint64_t i = 0; i < 20; ++i) {
    const pid_t child = start_saving(step + 1);
    ASSERT_GT(child, 0);
    std::this_thread::sleep_for(std::chrono::microseconds(random_delay.below(i, 250000)));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child could not save";

    killed_while_saving += has_leftovers();
    const LatestCheckpoint latest = find_latest_checkpoint(folder_);
    ASSERT_TRUE(latest.directory);
    EXPECT_TRUE(latest.damaged.empty()) << latest.damaged[0];
    const int64_t found = CheckpointReader(*latest.directory).meta().step;
    EXPECT_GE(found, step);
    expect_intact(*latest.directory, found);
    EXPECT_TRUE(fs::exists(folder_ / "latest" / "manifest.json"));
    step = found;
    CheckpointStore store(folder_, 2);
    EXPECT_FALSE(has_leftovers());
  }
  EXPECT_GT(killed_while_saving, 0);
  EXPECT_GT(step, 0);
}

TEST_F(CheckpointFailureTest, PartialsOfLivingProcessesStay) {
  save(1, 1);
  const fs::path theirs = folder_ / fmt::format(".step_2.partial-{}", ::getppid());
  fs::create_directory(theirs);
  CheckpointStore store(folder_, 1);
  EXPECT_TRUE(fs::exists(theirs));
}

// No file may grow beyond a limit: writes fail at every place in turn, as on a full disk.
TEST_F(CheckpointFailureTest, WritesThatFailLeaveThePreviousCheckpoint) {
  save(2, 1);
  CheckpointStore store(folder_, 2);
  rlimit unlimited{};
  ::getrlimit(RLIMIT_FSIZE, &unlimited);
  ::signal(SIGXFSZ, SIG_IGN);
  uint64_t largest = 0;
  for (const auto& file : fs::directory_iterator(folder_ / "step_1"))
    largest = std::max(largest, uint64_t(file.file_size()));
  for (uint64_t limit = 0; limit < largest; limit += 1 + largest / 40) {
    const rlimit limited{limit, unlimited.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limited);
    const std::string error = error_of([&] { store.save(meta(2), model(2)); });
    ::setrlimit(RLIMIT_FSIZE, &unlimited);
    EXPECT_EQ(error.find("checkpoint " + (folder_ / "step_2").string() + " was not saved: "), 0u)
        << error;
    EXPECT_NE(error.find(": File too large"), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    ASSERT_EQ(names(), (Names{"latest", "step_1"})) << "limit " << limit;
  }
  EXPECT_EQ(fs::read_symlink(folder_ / "latest"), "step_1");
  expect_intact(folder_ / "latest", 1);
  store.save(meta(2), model(2));
  expect_intact(folder_ / "latest", 2);
}

TEST_F(CheckpointFailureTest, AFullDiskLeavesThePreviousCheckpoint) {
  if (::mount("none", root_.c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "mounting a small tmpfs is refused: " << std::strerror(errno);
  const struct Unmount {
    ~Unmount() { ::umount2(path.c_str(), MNT_DETACH); }
    fs::path path;
  } unmount{root_};
  CheckpointStore store(folder_, 1);
  store.save(meta(1), model(1));
  int64_t saved = 1;
  int failures = 0;
  for (uint64_t free_bytes = 0; free_bytes <= (64 << 10); free_bytes += 4096) {
    const uint64_t available = fs::space(root_).available;
    ASSERT_GT(available, free_bytes);
    write_text_file(root_ / "filler", std::string(available - free_bytes, 'x'));
    const std::string error = error_of([&] { store.save(meta(saved + 1), model(saved + 1)); });
    fs::remove(root_ / "filler");
    if (error == "no error") {
      ++saved;
    } else {
      ++failures;
      EXPECT_NE(error.find("No space left on device"), std::string::npos) << error;
    }
    ASSERT_EQ(names(), (Names{"latest", fmt::format("step_{}", saved)}));
    expect_intact(folder_ / "latest", saved);
  }
  EXPECT_GT(failures, 4);
  EXPECT_GT(saved, 1);
}

TEST_F(CheckpointFailureTest, AnUnwritableFolderIsNamedAtOnce) {
  write_text_file(root_ / "file", "");
  EXPECT_EQ(error_of([&] { CheckpointStore(root_ / "file" / "checkpoints", 1); }),
            "cannot make the checkpoint folder " + (root_ / "file" / "checkpoints").string() +
                ": Not a directory");
  EXPECT_EQ(error_of([&] { CheckpointStore(folder_, 0); }),
            "checkpoint.keep is 0: at least 1 checkpoint must be kept");

  save(1, 1);
  CheckpointStore store(folder_, 1);
  fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read |
                               fs::perms::others_exec);
  const bool is_root = ::geteuid() == 0;
  ASSERT_EQ(::seteuid(is_root ? 65534 : ::geteuid()), 0);  // permissions do not hold root
  const std::string opening = error_of([&] { CheckpointStore(folder_, 1); });
  const std::string saving = error_of([&] { store.save(meta(2), model(2)); });
  ASSERT_EQ(::seteuid(is_root ? 0 : ::geteuid()), 0);
  fs::permissions(folder_, fs::perms::owner_all);
  EXPECT_NE(opening.find("Permission denied"), std::string::npos) << opening;
  EXPECT_NE(saving.find("Permission denied"), std::string::npos) << saving;
  EXPECT_EQ(names(), (Names{"latest", "step_1"}));
  expect_intact(folder_ / "latest", 1);
}

}  // namespace
}  // namespace tessera
