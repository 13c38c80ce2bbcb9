#include "core/program/stop_signal.h"

#include <gtest/gtest.h>

#include <csignal>

namespace tessera {
namespace {

class StopSignalTest : public testing::Test {
 protected:
  // In a background job some are ignored from the start.
  void SetUp() override {
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) std::signal(signal, SIG_DFL);
  }
};

TEST_F(StopSignalTest, TakesAllThatCameTogether) {
  StopSignal stop;
  EXPECT_EQ(stop.received(), 0);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) std::raise(signal);
  const int first = stop.received();
  EXPECT_NE(first, 0);
  EXPECT_EQ(stop.received(), first);
}

TEST_F(StopSignalTest, LeavesIgnoredOnesAlone) {
  std::signal(SIGHUP, SIG_IGN);
  {
    StopSignal stop;
    std::raise(SIGHUP);
    EXPECT_EQ(stop.received(), 0);
    std::raise(SIGTERM);
    EXPECT_EQ(stop.received(), SIGTERM);
  }
  std::signal(SIGHUP, SIG_DFL);
}

TEST_F(StopSignalTest, TheNextOneEndsTheProcess) {
  const auto stop_twice = [] {
    StopSignal stop;
    std::raise(SIGTERM);
    stop.received();
    std::raise(SIGINT);
  };
  EXPECT_EXIT(stop_twice(), testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace tessera
