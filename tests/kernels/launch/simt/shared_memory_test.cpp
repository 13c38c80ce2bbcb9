// Shared memory: its arrays, their limits, and cp.async into them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;
using namespace gpu;  // NOLINT

__global__ void arrays_kernel(uint32_t* addresses, float* first) {
  struct A;
  struct B;
  if (thread_index().x == 0) {
    first[0] = *shared_array<float, 10>();
    first[1] = *reinterpret_cast<float*>(dynamic_shared<64>());
    addresses[0] = shared_address(shared_array<float, 10>());
    addresses[1] = shared_address(shared_array<float, 10, A>());
    addresses[2] = shared_address(shared_array<float, 10, B>());
    addresses[3] = shared_address(shared_array<float, 11>());
    addresses[4] = shared_address(dynamic_shared<64>());
  } else {
    addresses[5] = shared_address(shared_array<float, 10, A>());
  }
}

TEST(SimtSharedMemory, OneArrayForEachTypeSizeAndTag) {
  std::vector<uint32_t> a(6);
  std::vector<float> first(2);
  ASSERT_EQ(
      error_of({}, arrays_kernel, {.threads = 2, .shared_bytes = 100}, a.data(), first.data()), "");
  EXPECT_EQ(a[1], a[5]);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(a[i] % 16, 0u);
    for (size_t j = 0; j < i; ++j) EXPECT_GE(std::abs(int(a[i]) - int(a[j])), 40);
  }
  EXPECT_EQ(a[4] % 128, 64u) << "aligned to no more than was asked for";
  EXPECT_TRUE(std::isnan(first[0]) && std::isnan(first[1]));
}

enum class Bug {
  write_before,
  write_behind,
  too_large,
  two_alignments,
  global_address,
};

__global__ void wrong_kernel(Bug bug, float* global) {
  float* array = shared_array<float, 8>();
  switch (bug) {
    case Bug::write_before:
      array[-1] = 1;
      break;
    case Bug::write_behind:
      array[8] = 1;
      break;
    case Bug::too_large:
      shared_array<float, 13000>();
      break;
    case Bug::two_alignments:
      dynamic_shared<16>();
      dynamic_shared<32>();
      break;
    case Bug::global_address:
      shared_address(global);
      break;
  }
}

std::string report_of(Bug bug) {
  float global = 0;
  return error_of({}, wrong_kernel, {.threads = 1, .shared_bytes = 100}, bug, &global);
}

TEST(SimtSharedMemory, FindsMisuse) {
  EXPECT_THAT(report_of(Bug::too_large), HasSubstr("52000 bytes do not fit"));
  EXPECT_THAT(report_of(Bug::two_alignments), HasSubstr("asked for with alignment 32 here and 16"));
  EXPECT_THAT(report_of(Bug::global_address), HasSubstr("is no address in shared memory"));
}

#if !defined(__SANITIZE_ADDRESS__)  // which stops at the write itself
TEST(SimtSharedMemory, FindsWritesBetweenArrays) {
  EXPECT_THAT(report_of(Bug::write_before), HasSubstr("written outside of every array, at 0x3fc"));
  EXPECT_THAT(report_of(Bug::write_behind), HasSubstr("written outside of every array, at 0x420"));
}
#endif

TEST(SimtSharedMemory, LimitsAreThoseOfTheDevice) {
  float global = 0;
  EXPECT_THAT(error_of({}, wrong_kernel, {.threads = 1, .shared_bytes = (227 << 10) + 1},
                       Bug::global_address, &global),
              HasSubstr("but a block may have 232448"));
  EXPECT_THAT(error_of({.shared_limit = 48 << 10}, wrong_kernel,
                       {.threads = 1, .shared_bytes = 50000}, Bug::global_address, &global),
              HasSubstr("50000 bytes of dynamic shared memory, but a block may have 49152"));
}

// Two static arrays of 16 bytes, and the dynamic one if it is used.
__global__ void layout_kernel(bool dynamic) {
  shared_array<uint64_t, 2>();
  if (dynamic) dynamic_shared<16>();
  shared_array<int, 4>();
}

TEST(SimtSharedMemory, DynamicArraysAreAlignedOnTheDevice) {
  constexpr int kMost = 227 << 10;
  const auto report = [](bool dynamic, int bytes) {
    return error_of({}, layout_kernel, {.threads = 1, .shared_bytes = bytes}, dynamic);
  };
  EXPECT_EQ(report(false, kMost - 32), "");
  EXPECT_THAT(report(false, kMost - 31), HasSubstr("16 bytes do not fit beside 16 static"));
  EXPECT_EQ(report(true, kMost - 1024), "");
  EXPECT_THAT(report(true, kMost - 1023),
              HasSubstr("dynamic_shared: 231425 bytes, aligned to 1024, do not fit beside 16"));
}

// Each thread copies 20 of 32 bytes; before the wait the memory holds NaN if delivery is late.
__global__ void copy_kernel(const float* from, float* to, float* early) {
  float* tile = shared_array<float, 32 * 8>();
  const int t = int(thread_index().x);
  const uint32_t address = shared_address(tile + 8 * t);
  cp_async_16(address, from + 8 * t);
  cp_async_4(address + 16, from + 8 * t + 4);
  cp_async_4(address + 20, from, 0);
  cp_async_commit();
  early[t] = tile[8 * t];
  cp_async_wait<0>();
  for (int i = 0; i < 6; ++i) to[8 * t + i] = tile[8 * t + i];
}

TEST(SimtAsyncCopy, ArrivesWhenWaitedFor) {
  std::vector<float> from(256), to(256), early(32);
  for (size_t i = 0; i < 256; ++i) from[i] = float(i) + 1;
  for (const auto delivery :
       {simt::AsyncDelivery::eager, simt::AsyncDelivery::late, simt::AsyncDelivery::random}) {
    ASSERT_EQ(error_of({.async = delivery, .race = simt::Switch::off}, copy_kernel, {.threads = 32},
                       from.data(), to.data(), early.data()),
              "");
    for (size_t t = 0; t < 32; ++t) {
      for (size_t i = 0; i < 5; ++i) EXPECT_EQ(to[8 * t + i], float(8 * t + i + 1));
      EXPECT_EQ(to[8 * t + 5], 0);
      const bool is_early = !std::isnan(early[t]);
      if (is_early) {
        EXPECT_EQ(early[t], float(8 * t + 1));
      }
      EXPECT_TRUE(is_early || delivery != simt::AsyncDelivery::eager);
      EXPECT_TRUE(!is_early || delivery != simt::AsyncDelivery::late);
    }
  }
}

// Group i copies number i; the first wait leaves two groups.
__global__ void groups_kernel(const float* from, float* seen) {
  float* slots = shared_array<float, 4>();
  for (int i = 0; i < 3; ++i) {
    cp_async_4(shared_address(slots + i), from + i);
    cp_async_commit();
  }
  cp_async_wait<2>();
  for (int i = 0; i < 3; ++i) seen[i] = slots[i];
  cp_async_wait<0>();
  for (int i = 0; i < 3; ++i) seen[3 + i] = slots[i];
}

TEST(SimtAsyncCopy, GroupsCompleteInOrder) {
  const std::vector<float> from{1, 2, 3};
  std::vector<float> seen(6);
  ASSERT_EQ(error_of({.async = simt::AsyncDelivery::late, .race = simt::Switch::off}, groups_kernel,
                     {.threads = 1}, from.data(), seen.data()),
            "");
  EXPECT_EQ(seen[0], 1);
  EXPECT_TRUE(std::isnan(seen[1]) && std::isnan(seen[2]));
  EXPECT_EQ(seen[5], 3);
}

enum class CopyBug {
  misaligned_shared,
  misaligned_global,
  out_of_range,
  bytes,
  from_shared,
  never_waited_for
};

__global__ void wrong_copy_kernel(CopyBug bug, const float* from) {
  const uint32_t to = shared_address(shared_array<float, 8>());
  if (bug == CopyBug::misaligned_shared) cp_async_16(to + 4, from);
  if (bug == CopyBug::misaligned_global) cp_async_16(to, from + 1);
  if (bug == CopyBug::out_of_range) cp_async_16(to + 32, from);
  if (bug == CopyBug::bytes) cp_async_16(to, from, 17);
  if (bug == CopyBug::from_shared) cp_async_16(to, shared_array<float, 4>());
  cp_async_16(to, from);
}

TEST(SimtAsyncCopy, FindsMisuse) {
  alignas(16) const float from[8] = {};
  const auto report = [&](CopyBug bug) {
    return error_of({}, wrong_copy_kernel, {.threads = 1}, bug, from);
  };
  EXPECT_THAT(report(CopyBug::misaligned_shared), HasSubstr("0x404 is not aligned to 16 bytes"));
  EXPECT_THAT(report(CopyBug::misaligned_global), HasSubstr("is not aligned to 16 bytes"));
  EXPECT_THAT(report(CopyBug::out_of_range), HasSubstr("[0x420, +16) are in no array"));
  EXPECT_THAT(report(CopyBug::bytes), HasSubstr("17 source bytes are neither 0 nor 16"));
  EXPECT_THAT(report(CopyBug::from_shared), HasSubstr("cp.async: address"));
  EXPECT_THAT(report(CopyBug::never_waited_for), HasSubstr("exits without waiting for the copy"));
}

}  // namespace
}  // namespace tessera::simt_test
