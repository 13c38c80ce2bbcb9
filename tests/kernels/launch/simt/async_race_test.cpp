// What the race detector reports about TMA and wgmma, and what it does not. Compiled with race
// instrumentation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;
using namespace gpu;  // NOLINT

constexpr int kWarpgroup = 128, kTile = 1024;  // bf16 elements of 64 x 16
constexpr bf16 kOne{0x3f80};

// The report of the first of 20 seeds; all of them report something, or none does.
template <class... P>
std::string report_of(void (*kernel)(P...), const Grid& grid, std::type_identity_t<P>... p) {
  const std::string first = error_of({.seed = 1}, kernel, grid, p...);
  for (uint64_t seed = 2; seed <= 20; ++seed) {
    const std::string report = error_of({.seed = seed}, kernel, grid, p...);
    EXPECT_EQ(report.empty(), first.empty()) << "seed " << seed << ": " << report;
  }
  return first;
}

// Fills [first, first + n) with ones, by threads `thread` of `threads`.
__device__ void fill(bf16* values, int first, int n, int thread, int threads) {
  for (int i = thread; i < n; i += threads) values[first + i] = kOne;
}

__device__ uint64_t tile_descriptor(const bf16* tile) {
  return matrix_descriptor(shared_address(tile), 128, 256, Swizzle::none);
}

enum class Fill {
  fenced_by_writers,
  fenced_by_readers,
  fenced_by_one_reader,
  not_fenced,
  no_barrier,
  own_rows,    // each warp fills the rows of A that it multiplies, after the barrier
  other_rows,  // those of another warp
  refilled_before_wait,
};

// A warpgroup fills A and B; then it multiplies them, or another one does if readers fence.
__global__ void product_kernel(Fill how, float* out) {
  bf16* a = reinterpret_cast<bf16*>(dynamic_shared<1024>());
  bf16* b = a + kTile;
  const int t = int(thread_index().x);
  const bool by_warp = how == Fill::own_rows || how == Fill::other_rows;
  const bool by_reader = how == Fill::fenced_by_readers || how == Fill::fenced_by_one_reader;
  fill(b, 0, t < kWarpgroup ? kTile : 0, t, kWarpgroup);
  fill(a, 0, t < kWarpgroup && !by_warp ? kTile : 0, t, kWarpgroup);
  if (how != Fill::not_fenced && !by_reader) fence_proxy_async();
  if (how != Fill::no_barrier) sync_block();
  if ((t < kWarpgroup) == by_reader) return;
  if (how == Fill::fenced_by_readers || (by_reader && warp() == 5)) fence_proxy_async();
  if (by_warp) {
    const int rows = how == Fill::own_rows ? warp() : warp() ^ 1;
    fill(a, rows * kTile / 4, kTile / 4, lane(), kWarpSize);
    fence_proxy_async();
    sync_warp();
  }
  float d[32] = {};
  wgmma_fence();
  wgmma_ss<64>(d, tile_descriptor(a), tile_descriptor(b), false);
  wgmma_commit();
  if (how == Fill::refilled_before_wait && t == 5) b[0] = kOne;
  wgmma_wait<0>();
  out[t % kWarpgroup] = d[0];
}

TEST(SimtAsyncRace, EveryWarpOfAProductIsOrderedAfterItsOperands) {
  std::vector<float> out(kWarpgroup);
  const auto report = [&](Fill how) {
    return report_of(product_kernel, {.threads = 2 * kWarpgroup, .shared_bytes = 4 * kTile}, how,
                     out.data());
  };
  for (const Fill how : {Fill::fenced_by_writers, Fill::fenced_by_readers, Fill::own_rows}) {
    EXPECT_EQ(report(how), "");
    EXPECT_EQ(std::ranges::count(out, 16.0f), kWarpgroup);
  }
  EXPECT_THAT(report(Fill::fenced_by_one_reader), HasSubstr("missing fence_proxy_async: wgmma"));
  EXPECT_THAT(report(Fill::not_fenced), HasSubstr("missing fence_proxy_async: wgmma"));
  EXPECT_THAT(report(Fill::no_barrier), HasSubstr("shared"));
  EXPECT_THAT(report(Fill::other_rows), HasSubstr("shared"));
  EXPECT_THAT(report(Fill::refilled_before_wait), HasSubstr("race: "));
}

// Two accumulators: one is in flight while the other's results are read.
__global__ void two_accumulators_kernel(float* out) {
  bf16* tile = reinterpret_cast<bf16*>(dynamic_shared<1024>());
  fill(tile, 0, kTile, int(thread_index().x), kWarpgroup);
  fence_proxy_async();
  sync_block();
  const uint64_t operand = tile_descriptor(tile);
  const auto add = [&](float(&d)[32], bool accumulate) {
    wgmma_fence();
    wgmma_ss<64>(d, operand, operand, accumulate);
    wgmma_commit();
  };
  float d[32] = {}, e[32] = {}, wrong = 0;
  add(d, false);
  for (int i = 1; i <= 3; ++i) {
    add(e, i > 1);
    wgmma_wait<1>();
    wrong += d[0] != float(16 * i);
    add(d, true);
    wgmma_wait<1>();
    wrong += e[31] != float(16 * i);
  }
  wgmma_wait<0>();
  out[thread_index().x] = wrong + (d[7] != 64);
}

TEST(SimtAsyncRace, AWaitMayLeaveProductsInFlight) {
  std::vector<float> wrong(kWarpgroup, 1.0f);
  EXPECT_EQ(report_of(two_accumulators_kernel, {.threads = kWarpgroup, .shared_bytes = 2 * kTile},
                      wrong.data()),
            "");
  EXPECT_EQ(std::ranges::count(wrong, 0.0f), kWarpgroup);
}

// A matrix [rows, 8] of f32 and a box of one row.
TensorMap map_of(const std::vector<float>& values) {
  return encode_tensor_map(values.data(), {.rank = 2,
                                           .sizes = {8, values.size() / 8},
                                           .strides = {32},
                                           .box = {8, 1},
                                           .swizzle = Swizzle::none});
}

enum class Load { right, after_reads, not_fenced, flag_after_issue };

// Thread 0 loads a row where all have written, or have read what was loaded before; warp 1 uses it.
__global__ void load_kernel(const __grid_constant__ TensorMap map, Load how, float* out) {
  float* row = reinterpret_cast<float*>(dynamic_shared<128>());
  float* flag = shared_array<float, 1>();
  uint64_t* barrier = shared_array<uint64_t, 1>();
  const int t = int(thread_index().x);
  const auto load = [&](int y) {
    if (t != 0) return;
    mbarrier_arrive_expect_tx(barrier, 32);
    tma_load_2d(row, map, barrier, 0, y);
  };
  if (t == 0) {
    mbarrier_init(barrier, 1);
    fence_mbarrier_init();
    *flag = 1;
  }
  if (how != Load::after_reads && t < 8) row[t] = 1;
  if (how != Load::not_fenced) fence_proxy_async();
  sync_block();
  if (how == Load::after_reads) {
    load(0);
    mbarrier_wait(barrier, 0);
    out[t] = row[t % 8];
    sync_block();
  }
  load(1);
  if (how == Load::flag_after_issue && t == 0) *flag = 2;
  if (warp() == 1) {
    mbarrier_wait(barrier, how == Load::after_reads ? 1 : 0);
    out[t] = row[t % 8] + *flag;
  }
}

TEST(SimtAsyncRace, LoadsFollowWritesWithAFenceAndReadsWithout) {
  std::vector<float> values(16, 7.0f), out(64);
  const auto report = [&](Load how) {
    return report_of(load_kernel, {.threads = 64, .shared_bytes = 128}, map_of(values), how,
                     out.data());
  };
  EXPECT_EQ(report(Load::right), "");
  EXPECT_EQ(out[32], 8.0f);
  EXPECT_EQ(report(Load::after_reads), "");
  EXPECT_THAT(report(Load::not_fenced), HasSubstr("missing fence_proxy_async: a TMA copy writes"));
}

TEST(SimtAsyncRace, LoadsDoNotPublishWhatTheirIssuerDoesLater) {
  std::vector<float> values(16, 7.0f), out(64);
  const std::string report = report_of(load_kernel, {.threads = 64, .shared_bytes = 256},
                                       map_of(values), Load::flag_after_issue, out.data());
  EXPECT_THAT(report, HasSubstr("race: "));
}

enum class Store { right, fenced_by_issuer, fenced_after, overwritten };

__global__ void store_kernel(const __grid_constant__ TensorMap map, Store how) {
  float* row = reinterpret_cast<float*>(dynamic_shared<128>());
  const int t = int(thread_index().x);
  if (t < 8) row[t] = 1;
  if (how == Store::right || how == Store::overwritten) fence_proxy_async();
  sync_block();
  if (t != 0) return;
  if (how == Store::fenced_by_issuer) fence_proxy_async();
  tma_store_2d(map, row, 0, 0);
  tma_commit();
  if (how == Store::fenced_after) fence_proxy_async();
  if (how == Store::overwritten) row[0] = 2;
  tma_wait<0>();
}

TEST(SimtAsyncRace, StoresReadFromTheirIssueOn) {
  std::vector<float> values(8);
  const auto report = [&](Store how) {
    return report_of(store_kernel, {.threads = 64, .shared_bytes = 128}, map_of(values), how);
  };
  EXPECT_EQ(report(Store::right), "");
  EXPECT_EQ(report(Store::fenced_by_issuer), "");
  EXPECT_EQ(values, std::vector<float>(8, 1.0f));
  EXPECT_THAT(report(Store::fenced_after),
              HasSubstr("missing fence_proxy_async: a TMA copy reads"));
  EXPECT_THAT(report(Store::overwritten), HasSubstr("is not ordered after the read by a TMA copy"));
}

// Stores rows from two buffers in turn; a buffer is free when all but kPending groups have read.
template <int kPending, bool kRead>
__global__ void two_buffers_kernel(const __grid_constant__ TensorMap map, int rows) {
  float* buffers = reinterpret_cast<float*>(dynamic_shared<128>());
  const int t = int(thread_index().x);
  for (int y = 0; y < rows; ++y) {
    float* row = buffers + y % 2 * 32;
    if (t == 0 && kRead) tma_wait_read<kPending>();
    if (t == 0 && !kRead) tma_wait<kPending>();
    sync_block();
    if (t < 8) row[t] = float(8 * y + t);
    fence_proxy_async();
    sync_block();
    if (t == 0) tma_store_2d(map, row, 0, y);
    if (t == 0) tma_commit();
  }
  if (t == 0) tma_wait<0>();
}

TEST(SimtAsyncRace, AWaitMayLeaveStoresInFlight) {
  constexpr int kRows = 5;
  const auto report = [](auto kernel) {
    std::vector<float> values(kRows * 8);
    const std::string error =
        report_of(kernel, {.threads = 64, .shared_bytes = 256}, map_of(values), kRows);
    for (size_t i = 0; error.empty() && i < values.size(); ++i) EXPECT_EQ(values[i], float(i));
    return error;
  };
  EXPECT_EQ(report(two_buffers_kernel<1, true>), "");
  EXPECT_EQ(report(two_buffers_kernel<1, false>), "");
  EXPECT_THAT(report(two_buffers_kernel<2, true>),
              HasSubstr("is not ordered after the read by a TMA copy"));
}

}  // namespace
}  // namespace tessera::simt_test
