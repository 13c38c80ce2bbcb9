// Barriers of a block, and the report of a deadlock.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;
using namespace gpu;  // NOLINT

// Rotates values through shared memory, with a barrier behind every step.
__global__ void rotate_kernel(int steps, int* out) {
  int* values = shared_array<int, 256>();
  const int t = int(thread_index().x);
  values[t] = t;
  sync_block();
  for (int i = 0; i < steps; ++i) {
    const int next = values[(t + 1) % 256];
    sync_block();
    values[t] = next;
    sync_block();
  }
  out[t] = values[t];
}

TEST(SimtBarrier, SyncBlock) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    std::vector<int> out(256);
    ASSERT_EQ(error_of({.seed = seed}, rotate_kernel, {.threads = 256}, 5, out.data()), "");
    for (int t = 0; t < 256; ++t) EXPECT_EQ(out[size_t(t)], (t + 5) % 256);
  }
}

// Warps 0 and 1 hand numbers to warps 2 and 3, one at a time.
__global__ void hand_over_kernel(int* out) {
  int* slot = shared_array<int, 64>();
  const int t = int(thread_index().x) % 64;
  int sum = 0;
  for (int i = 0; i < 4; ++i) {
    if (warp() < 2) {
      if (i > 0) barrier_sync(3, 128);  // the slot is free again
      slot[t] = t * 10 + i;
      barrier_arrive(2, 128);
    } else {
      barrier_sync(2, 128);
      sum += slot[t];
      if (i < 3) barrier_arrive(3, 128);
    }
  }
  if (warp() >= 2) out[t] = sum;
}

TEST(SimtBarrier, NamedBarriers) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<int> out(64);
    ASSERT_EQ(error_of({.seed = seed}, hand_over_kernel, {.threads = 128}, out.data()), "");
    for (int t = 0; t < 64; ++t) EXPECT_EQ(out[size_t(t)], 40 * t + 6);
  }
}

enum class Bug {
  no_such_barrier,
  no_whole_warps,
  other_count,
  twice,
  part_of_a_warp,
  half_arrived,
  one_warp_missing,
  early_exit,
};

__global__ void wrong_kernel(Bug bug) {
  const int w = warp();
  switch (bug) {
    case Bug::no_such_barrier:
      return barrier_sync(16, 64);
    case Bug::no_whole_warps:
      return barrier_sync(1, 48);
    case Bug::other_count:
      return barrier_sync(1, w == 0 ? 64 : 96);
    case Bug::twice:
      barrier_arrive(1, 96);
      return barrier_arrive(1, 96);
    case Bug::part_of_a_warp:
      if (w == 0 || (w < 3 && lane() < 16)) barrier_sync(1, 64);
      return;
    case Bug::half_arrived:
      if (w == 0) barrier_arrive(5, 64);
      return;
    case Bug::one_warp_missing:
      if (w > 0) return sync_block();
      return barrier_sync(7, 128);
    case Bug::early_exit:
      if (w > 0) sync_block();
      return;
  }
}

std::string report_of(Bug bug) {
  return error_of({}, wrong_kernel, {.threads = 128}, bug);
}

TEST(SimtBarrier, FindsMisuse) {
  EXPECT_THAT(report_of(Bug::no_such_barrier), HasSubstr("barrier 16 does not exist"));
  EXPECT_THAT(report_of(Bug::no_whole_warps), HasSubstr("48 threads are no whole warps"));
  EXPECT_THAT(report_of(Bug::other_count), HasSubstr("barrier_sync(1): "));
  EXPECT_THAT(report_of(Bug::twice), HasSubstr("the thread arrives twice in one phase"));
  EXPECT_THAT(report_of(Bug::part_of_a_warp), HasSubstr("only 16 lanes of warp"));
  EXPECT_THAT(report_of(Bug::half_arrived),
              HasSubstr("the block exits with 32 of 64 threads arrived"));
}

TEST(SimtBarrier, DeadlockTellsWhoWaitsWhere) {
  const std::string report = report_of(Bug::one_warp_missing);
  EXPECT_THAT(report, HasSubstr("deadlock"));
  EXPECT_THAT(report, HasSubstr("warp  0: barrier_sync at barrier_test.cpp:"));
  EXPECT_THAT(report, HasSubstr("barrier 7: 32 of 128 threads have arrived [32 threads]"));
  EXPECT_THAT(report, HasSubstr("warp  3: sync_block at barrier_test.cpp:"));
  EXPECT_THAT(report, HasSubstr("barrier 0: 96 of 128 threads have arrived [32 threads]"));
  EXPECT_THAT(report_of(Bug::early_exit), HasSubstr("exited [32 threads]"));
}

}  // namespace
}  // namespace tessera::simt_test
