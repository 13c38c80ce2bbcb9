// Votes, shuffles and block barriers, and what is wrong in their use.
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
  for (int t = 0; t < 64; ++t) {
    const int l = t % 32;
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
    for (int b = 0; b < 5; ++b) EXPECT_EQ(out[b], 128 * 127 / 2 + 128000.0f * b);
  }
}

}  // namespace
}  // namespace tessera::simt_test
