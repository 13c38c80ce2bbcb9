#include "core/program/program.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "core/check.h"

namespace tessera {
namespace {

// Runs `speak` with the argument and `body`.
int run(std::string argument, const std::function<void()>& body) {
  CLI::App app("Says something.", "speak");
  std::string word;
  app.add_option("WORD", word, "what to say");
  std::string name = "speak";
  char* argv[] = {name.data(), argument.data(), nullptr};
  return run_program(app, 2, argv, body);
}

TEST(RunProgram, ReturnsZeroWhereAllIsWell) {
  int calls = 0;
  EXPECT_EQ(run("word", [&] { ++calls; }), 0);
  EXPECT_EQ(calls, 1);
  testing::internal::CaptureStdout();
  EXPECT_EQ(run("--help", [&] { ++calls; }), 0);
  EXPECT_NE(testing::internal::GetCapturedStdout().find("Says something."), std::string::npos);
  EXPECT_EQ(calls, 1);
}

TEST(RunProgram, SaysInOneLineWhatIsWrong) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run("--loud", [] {}), 1);
  EXPECT_EQ(run("word", [] { fail("no voice"); }), 1);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "speak: The following argument was not expected: --loud (see speak --help)\n"
            "speak: no voice\n");
}

// Standard output is a full disk, in a process of its own.
[[noreturn]] void run_with_full_disk(const std::string& argument,
                                     const std::function<void()>& body) {
  if (!std::freopen("/dev/full", "w", stdout)) std::exit(2);
  std::exit(run(argument, body));
}

TEST(RunProgram, FailsWhereTheOutputCannotBeWritten) {
  const std::string error = "^speak: cannot write all of the output; is the disk full\\?\n$";
  const auto exits = testing::ExitedWithCode(1);
  const auto print = [] { fmt::print("word\n"); };
  const auto flush = [] { fmt::print("word\n"), std::fflush(stdout); };
  EXPECT_EXIT(run_with_full_disk("word", print), exits, error);
  EXPECT_EXIT(run_with_full_disk("word", flush), exits, error);
  EXPECT_EXIT(run_with_full_disk("--help", print), exits, error);
}

}  // namespace
}  // namespace tessera
