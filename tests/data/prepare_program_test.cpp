// The program prepare-data as a user meets it: exit codes, one line on error, nothing left behind.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "core/random.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

using namespace test;

struct Outcome {
  int exit_code = -1;  // -signal if one ended it
  std::string out, err;
};

class PrepareProgram : public ::testing::Test {
 protected:
  // Starts `sh -c "cd FOLDER; PREFIX exec prepare-data ARGUMENTS"`.
  pid_t start(const std::string& arguments, const std::string& prefix = "") {
    const std::string command = fmt::format(
        "cd {}/work; {} exec '{}' {} >{}/out 2>{}/err", folder.path().string(), prefix,
        PREPARE_DATA_PROGRAM, arguments, folder.path().string(), folder.path().string());
    const pid_t child = fork();
    if (child == 0) {
      for (int number : {SIGINT, SIGTERM, SIGHUP}) std::signal(number, SIG_DFL);  // under nohup
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
    return child;
  }

  Outcome wait_for(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_text(folder / "out"),
            read_text(folder / "err")};
  }

  Outcome run(const std::string& arguments, const std::string& prefix = "") {
    return wait_for(start(arguments, prefix));
  }

  // Exit code 1, one line naming the program on stderr, nothing on stdout, no new file.
  void expect_error(const Outcome& outcome, const std::string& part) {
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(contains(outcome.err, part));
    EXPECT_TRUE(outcome.err.starts_with("prepare-data: ")) << outcome.err;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "work/out.h5"));
    EXPECT_FALSE(std::filesystem::exists(folder / "work/out.h5.tmp"));
  }

  void SetUp() override { write_text(folder / "work/a.txt", "to be or not to be\n"); }

  TemporaryFolder folder;
};

TEST_F(PrepareProgram, WritesAFileAndASummary) {
  const Outcome outcome = run("--tokenizer char --split tail -o out.h5 a.txt");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");  // no progress line where there is no terminal
  EXPECT_TRUE(contains(outcome.out, "vocabulary 8,"));
  EXPECT_TRUE(contains(outcome.out, "train      1 documents, 17 tokens"));
  EXPECT_TRUE(contains(outcome.out, "val        1 documents, 2 tokens"));
  EXPECT_EQ(TokenFile(folder / "work/out.h5").token_count(Split::train), 17u);
}

TEST_F(PrepareProgram, TrainsATokenizerThatItThenReads) {
  const std::string train = "--train-tokenizer bpe --vocab-size 300 --save-tokenizer t/mine.json";
  const Outcome first = run(train + " --val-fraction 0 -o out.h5 a.txt");
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_TRUE(contains(first.out, "tokenizer  bpe, vocabulary 260,"));
  const Outcome second = run("-t t/mine.json --val-fraction 0 -o again.h5 a.txt");
  EXPECT_EQ(second.exit_code, 0) << second.err;
  TokenFile trained(folder / "work/out.h5"), read(folder / "work/again.h5");
  EXPECT_EQ(trained.tokenizer_hash(), read.tokenizer_hash());
  EXPECT_EQ(read_split(trained, Split::train), read_split(read, Split::train));
  EXPECT_FALSE(std::filesystem::exists(folder / "work/t/mine.json.tmp"));
}

TEST_F(PrepareProgram, HelpShowsAnExample) {
  const Outcome outcome = run("--help");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_TRUE(contains(outcome.out, "prepare-data --tokenizer char"));
  EXPECT_EQ(outcome.err, "");
}

TEST_F(PrepareProgram, PatternsDoNotSwallowInputs) {
  write_text(folder / "work/in/b.md", "x");
  write_text(folder / "work/in/c.h", "x");
  const Outcome outcome =
      run("-t byte --val-fraction 0 -o out.h5 --glob '*.md,*.txt' --glob '*.h' in a.txt");
  EXPECT_TRUE(contains(outcome.out, "input      3 files")) << outcome.err;
}

TEST_F(PrepareProgram, BadArguments) {
  expect_error(run(""), "INPUT is required");
  expect_error(run("a.txt -o out.h5"), "--tokenizer is required");
  expect_error(run("a.txt -t morse -o out.h5"), "morse");
  expect_error(run("a.txt -t byte --vocab-size 300 -o out.h5"), "--train-tokenizer");
  expect_error(run("a.txt --train-tokenizer bpe -o out.h5"), "--vocab-size");
  expect_error(run("a.txt -t byte --train-tokenizer bpe --vocab-size 300 -o out.h5"),
               "--tokenizer");
  expect_error(run("a.txt --train-tokenizer bpe --vocab-size 256 -o out.h5"), "257");
  expect_error(run("a.txt -t byte --save-tokenizer t.json -o out.h5"), "has no tokenizer.json");
  expect_error(run("a.txt -t byte -o out.h5 --val-fraction lots"), "--val-fraction");
  expect_error(run("a.txt -t byte -o out.h5 --val-fraction 1.5"), "validation fraction is 1.5");
  expect_error(run("a.txt -t byte -o out.h5 --split heads"),
               "--split: heads not in {documents,tail}");
  expect_error(run("a.txt -t byte -o out.h5 --fast"), "--fast");
  expect_error(run("nope.txt -t byte -o out.h5"), "no file matches 'nope.txt'");
  expect_error(run("a.txt -t byte -o a.txt/out.h5"), "not a folder");
  expect_error(run("a.txt -t byte -o /proc/out.h5 --val-fraction 0"), "cannot write /proc/out.h5");
}

TEST_F(PrepareProgram, ReadsAPipeOnce) {
  const Outcome outcome = run("-t byte --val-fraction 0 -o out.h5 /dev/stdin", "echo hello |");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(TokenFile(folder / "work/out.h5").token_count(Split::train), 7u);
  std::filesystem::remove(folder / "work/out.h5");
  for (const char* learned : {"-t char", "--train-tokenizer bpe --vocab-size 300"}) {
    const std::string rest = " --val-fraction 0 -o out.h5 /dev/stdin";
    expect_error(run(learned + rest, "echo hello |"), "/dev/stdin is not a regular file");
  }
}

// A limit on file sizes stands for a full disk. It is met before the first chunk and in the middle:
// the writer reserves 8 MiB (16384 blocks of 512 bytes) more than it has written.
TEST_F(PrepareProgram, FullDiskLeavesNothing) {
  const Philox random(1, purpose_id("test/noise"), 0);
  std::string noise;
  for (uint32_t i = 0; i < 1 << 20; ++i) noise.push_back(char(random.bits(i)));
  write_text(folder / "work/noise.bin", noise);
  for (int blocks : {1, 8, 16384, 17500}) {
    for (const char* split : {"documents --val-fraction 0", "tail"}) {
      const Outcome outcome = run(fmt::format("-t byte --split {} -o out.h5 noise.bin", split),
                                  fmt::format("trap '' XFSZ; ulimit -f {};", blocks));
      expect_error(outcome, "prepare-data: cannot ");
      EXPECT_TRUE(contains(outcome.err, "File too large"));
    }
  }
}

TEST_F(PrepareProgram, SignalsLeaveNothing) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const std::string pipe = (folder / "work/pipe").string();
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    const pid_t child = start("-t byte --val-fraction 0 -o out.h5 pipe");
    const int fd = open(pipe.c_str(), O_WRONLY);
    const std::string text(3 << 20, 'x');
    ASSERT_EQ(write(fd, text.data(), text.size()), ssize_t(text.size()));
    kill(child, signal);
    // The program may leave before it has read everything; then the pipe breaks, which is no
    // matter.
    std::signal(SIGPIPE, SIG_IGN);
    EXPECT_NE(write(fd, text.data(), text.size()), 0);
    close(fd);
    expect_error(wait_for(child), "interrupted by");
    std::filesystem::remove(pipe);
  }
}

}  // namespace
}  // namespace tessera
