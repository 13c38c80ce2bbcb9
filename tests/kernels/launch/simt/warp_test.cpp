// Exchanges and votes of a warp, and what is wrong in their use.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/launch/gpu/device.h"
#include "kernels/launch/gpu/reduce.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;
using namespace gpu;  // NOLINT

template <class T>
__global__ void shuffle_kernel(T* out) {
  const int l = lane();
  T* row = out + 4 * thread_index().x;
  row[0] = shuffle(T(l), (l + 5) % kWarpSize);
  row[1] = shuffle_xor(T(l), 9);
  row[2] = shuffle_down(T(l), 3);
  row[3] = shuffle_up(T(l), 3);
}

template <class T>
void expect_shuffles() {
  std::vector<T> out(64 * 4);
  ASSERT_EQ(error_of({}, shuffle_kernel<T>, {.threads = 64}, out.data()), "");
  for (size_t t = 0; t < 64; ++t) {
    const size_t l = t % 32;
    EXPECT_EQ(out[4 * t], T((l + 5) % 32));
    EXPECT_EQ(out[4 * t + 1], T(l ^ 9));
    EXPECT_EQ(out[4 * t + 2], T(l + 3 < 32 ? l + 3 : l));
    EXPECT_EQ(out[4 * t + 3], T(l >= 3 ? l - 3 : l));
  }
}

TEST(SimtWarp, Shuffles) {
  expect_shuffles<float>();
  expect_shuffles<double>();
  expect_shuffles<int32_t>();
  expect_shuffles<int64_t>();
  expect_shuffles<uint32_t>();
  expect_shuffles<uint64_t>();
}

__global__ void vote_kernel(uint32_t* out) {
  const int l = lane();
  const uint32_t votes = ballot(l % 3 == 0);
  const bool some = any(l == 31), none = any(l > 31), every = all(l < 32), most = all(l < 31);
  const bool elected = elect_one();
  if (elected) out[0] += 1;
  if (l == 7) out[1] = votes;
  if (l == 9)
    out[2] = uint32_t(some) | uint32_t(none) << 1 | uint32_t(every) << 2 | uint32_t(most) << 3;
}

TEST(SimtWarp, Votes) {
  std::vector<uint32_t> out(3);
  ASSERT_EQ(error_of({}, vote_kernel, {.threads = 32}, out.data()), "");
  EXPECT_EQ(out[0], 1u);
  EXPECT_EQ(out[1], 0x49249249u);
  EXPECT_EQ(out[2], 0b0101u);
}

__global__ void sum_kernel(float* out) {
  struct Sum;
  const float v = float(thread_index().x + 1000 * block_index().x);
  const float sum = block_sum<128, Sum>(v);
  if (thread_index().x == 77) out[block_index().x] = sum;
}

TEST(SimtWarp, BlockSum) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    std::vector<float> out(5);
    ASSERT_EQ(error_of({.seed = seed}, sum_kernel, {.x = 5, .threads = 128}, out.data()), "");
    for (size_t b = 0; b < 5; ++b) EXPECT_EQ(out[b], 128 * 127 / 2 + 128000.0f * float(b));
  }
}

// Halves of a warp synchronise on their own, from two places each.
__global__ void half_kernel(int* out) {
  const bool low = lane() < 16;
  int* shared = shared_array<int, 32>();
  shared[lane()] = lane();
  if (low) {
    sync_warp(0x0000ffff);
  } else if (lane() % 2) {
    sync_warp(0xffff0000);
  } else {
    sync_warp(0xffff0000);
  }
  out[lane()] = shared[lane() ^ 1];
}

TEST(SimtWarp, PartialMasks) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    std::vector<int> out(32);
    ASSERT_EQ(error_of({.seed = seed}, half_kernel, {.threads = 32}, out.data()), "");
    for (int l = 0; l < 32; ++l) EXPECT_EQ(out[size_t(l)], l ^ 1);
  }
}

enum class Bug { other_operation, other_place, not_in_mask, exited_lane, exits_early, other_mask };

__global__ void divergent_kernel(Bug bug, int* out) {
  const int l = lane();
  switch (bug) {
    case Bug::other_operation:
      out[l] = l < 16 ? shuffle(l, 0) : int(ballot(true));
      break;
    case Bug::other_place:
      if (l < 16) {
        out[l] = shuffle(l, 0);
      } else {
        out[l] = shuffle(l, 1);
      }
      break;
    case Bug::not_in_mask:
      sync_warp(0x0000ffff);
      break;
    case Bug::exited_lane:  // of a block of 48 threads
      out[l] = shuffle(l, 0);
      break;
    case Bug::exits_early:
      if (l == 3) return;
      out[l] = shuffle(l, 0);
      break;
    case Bug::other_mask:
      sync_warp(l < 16 ? 0xffffffff : 0xffff0000);
      break;
  }
}

std::string divergence(Bug bug, int threads = 32) {
  std::vector<int> out(64);
  return error_of({.schedule = simt::Schedule::round_robin}, divergent_kernel, {.threads = threads},
                  bug, out.data());
}

TEST(SimtWarp, FindsDivergence) {
  EXPECT_THAT(divergence(Bug::other_operation), HasSubstr("warp divergence: the lane executes"));
  EXPECT_THAT(divergence(Bug::other_place),
              HasSubstr("warp divergence: shuffle is executed here and at warp_test.cpp:"));
  EXPECT_THAT(divergence(Bug::not_in_mask), HasSubstr("0x0000ffff does not include the calling"));
  EXPECT_THAT(divergence(Bug::exited_lane, 48), HasSubstr("names lanes that have exited or never"));
  EXPECT_THAT(divergence(Bug::exits_early), HasSubstr("exit"));
  EXPECT_THAT(divergence(Bug::other_mask), HasSubstr("the mask is 0xffff0000 here and 0xffffffff"));
}

TEST(SimtWarp, ErrorsNameThePlaceAndTheThread) {
  EXPECT_THAT(divergence(Bug::not_in_mask),
              testing::MatchesRegex("warp_test.cpp:[0-9]+: sync_warp: .* \\[block \\(0, 0, 0\\), "
                                    "thread [0-9]+ \\(warp 0, lane [0-9]+\\)\\] \\[launch 1; "
                                    "TESSERA_SIMT=seed=1\\]"));
}

}  // namespace
}  // namespace tessera::simt_test
