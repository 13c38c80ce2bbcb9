#include "core/program/stop_signal.h"

#include <gtest/gtest.h>

#include <csignal>

namespace tessera {
namespace {

TEST(StopSignal, TakesAllThatCameTogether) {
  StopSignal stop;
  EXPECT_EQ(stop.received(), 0);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) std::raise(signal);
  const int first = stop.received();
  EXPECT_NE(first, 0);
  EXPECT_EQ(stop.received(), first);
}

TEST(StopSignal, TheNextOneEndsTheProcess) {
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
