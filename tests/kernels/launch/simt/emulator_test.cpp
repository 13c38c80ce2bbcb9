// The emulator as a whole: options, reproducibility, grids, errors outside of kernels.
#include "kernels/launch/simt/emulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <vector>

#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;
using namespace gpu;  // NOLINT

std::string parse_error(std::string_view text) {
  simt::Options options;
  try {
    simt::parse_options(text, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(SimtOptions, AreReadFromText) {
  simt::Options options;
  simt::parse_options(
      "seed=7,schedule=pct,async=late,race=off,bank=on,workers=3,resident=2,architecture=75,"
      "shared_limit=1000,ends=4",
      options);
  EXPECT_EQ(options.seed, 7u);
  EXPECT_EQ(options.schedule, simt::Schedule::pct);
  EXPECT_EQ(options.async, simt::AsyncDelivery::late);
  EXPECT_EQ(options.race, simt::Switch::off);
  EXPECT_TRUE(options.bank);
  EXPECT_EQ(options.workers, 3);
  EXPECT_EQ(options.resident, 2);
  EXPECT_EQ(options.architecture, 75);
  EXPECT_EQ(options.shared_limit, 1000);
  EXPECT_EQ(options.ends, 4);
  simt::Options again;
  simt::parse_options(simt::to_text(options), again);
  EXPECT_EQ(simt::to_text(again), simt::to_text(options));
}

TEST(SimtOptions, UnknownOnesAreErrors) {
  EXPECT_THAT(parse_error("sed=7"), HasSubstr("key 'sed' is unknown; use seed, schedule"));
  EXPECT_THAT(parse_error("schedule=fair"),
              HasSubstr("schedule=fair is unknown; use one of round_robin, uniform, pct, by_seed"));
  EXPECT_THAT(parse_error("seed=x"), HasSubstr("seed=x is not a whole number"));
  EXPECT_THAT(parse_error("resident=0"), HasSubstr("of at least 1"));
  EXPECT_THAT(parse_error("architecture=70"),
              HasSubstr("architecture=70 is unknown; use one of 75, 80, 86, 89, 90"));
  EXPECT_THAT(parse_error("shared_limit=232449"),
              HasSubstr("shared_limit=232449 is not in 0..232448"));
  EXPECT_THAT(parse_error("seed"), HasSubstr("'seed' is not of the form key=value"));
}

TEST(SimtOptions, ComeFromTheEnvironment) {
  setenv("TESSERA_SIMT", "seed=99,async=eager", 1);
  Context ctx({.device = Device::simt});
  EXPECT_EQ(ctx.state<simt::Emulator>().options().seed, 99u);
  EXPECT_EQ(ctx.state<simt::Emulator>().options().async, simt::AsyncDelivery::eager);
  unsetenv("TESSERA_SIMT");
}

__global__ void index_kernel(unsigned* out) {
  const Index3 b = block_index(), g = grid_size();
  const unsigned block = b.x + g.x * (b.y + g.y * b.z);
  out[block * block_size().x + thread_index().x] =
      block * 1000 + unsigned(warp() * kWarpSize + lane());
}

TEST(SimtEmulator, RunsEveryThreadOfEveryBlockOnce) {
  for (const int workers : {1, 3}) {
    for (const int resident : {1, 2, 5}) {
      std::vector<unsigned> out(4 * 3 * 2 * 96);
      ASSERT_EQ(error_of({.workers = workers, .resident = resident}, index_kernel,
                         {.x = 4, .y = 3, .z = 2, .threads = 96}, out.data()),
                "");
      for (unsigned i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i / 96 * 1000 + i % 96);
    }
  }
}

TEST(SimtEmulator, RunsTheEndsOfAGridAlone) {
  for (const int ends : {1, 2, 3}) {
    Context ctx({.device = Device::simt});
    ctx.state<simt::Emulator>().options().ends = ends;
    std::vector<unsigned> out(5);
    launch(ctx, index_kernel, {.x = 5, .threads = 1}, out.data());
    const unsigned inner = ends == 1 ? 0 : 1000, middle = ends == 3 ? 2000 : 0;
    EXPECT_EQ(out, (std::vector<unsigned>{0, inner, middle, 3 * inner, 4000})) << ends;
  }
}

TEST(SimtEmulator, RefusesImpossibleGrids) {
  EXPECT_THAT(error_of({}, index_kernel, {.threads = 1025}, nullptr), HasSubstr("1025 threads"));
  EXPECT_THAT(error_of({}, index_kernel, {.threads = 0}, nullptr), HasSubstr("0 threads"));
  EXPECT_THAT(error_of({}, index_kernel, {.x = 0, .threads = 32}, nullptr), HasSubstr("grid of 0"));
  EXPECT_THAT(error_of({}, index_kernel, {.y = 65536, .threads = 32}, nullptr),
              HasSubstr("at most 65535"));
  EXPECT_THAT(error_of({.shared_limit = 400000}, index_kernel,
                       {.threads = 1, .shared_bytes = 300000}, nullptr),
              HasSubstr("shared_limit=400000 is not in 0..232448"));
}

// The order in which warps and blocks come by.
__global__ void order_kernel(uint32_t* count, int* order) {
  for (int i = 0; i < 3; ++i) {
    sync_warp();
    if (lane() == 0) order[atomic_add(count, 1u)] = int(block_index().x * 100) + warp() * 10 + i;
  }
}

std::vector<int> order_of(const simt::Options& options, int launches = 1) {
  Context ctx({.device = Device::simt});
  ctx.state<simt::Emulator>().options() = options;
  std::vector<int> order(36);
  for (int i = 0; i < launches; ++i) {
    uint32_t count = 0;
    launch(ctx, order_kernel, {.x = 3, .threads = 128}, &count, order.data());
  }
  return order;
}

TEST(SimtEmulator, SchedulesDependOnSeedAndLaunchAlone) {
  std::set<std::vector<int>> orders;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const simt::Options options{.seed = seed, .workers = 1};
    orders.insert(order_of(options));
    EXPECT_EQ(order_of(options), order_of(options));
  }
  EXPECT_GT(orders.size(), 15u);
  const simt::Options pct{.schedule = simt::Schedule::pct, .workers = 1};
  EXPECT_NE(order_of(pct, 1), order_of(pct, 2)) << "each launch has its own schedule";
}

__global__ void fail_kernel() {
  if (block_index().x == 3) shared_address(nullptr);
}

TEST(SimtEmulator, GoesOnAfterAnError) {
  Context ctx({.device = Device::simt, .threads = 2});
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(launch(ctx, fail_kernel, {.x = 9, .threads = 64}), Error);
    std::vector<unsigned> out(64);
    launch(ctx, index_kernel, {.threads = 64}, out.data());
    EXPECT_EQ(out[63], 63u);
  }
  EXPECT_EQ(ctx.state<simt::Emulator>().statistics().launches, 6u);
}

TEST(SimtEmulator, FunctionsOfKernelsNeedAKernel) {
  EXPECT_THROW(sync_block(), Error);
  EXPECT_THROW(ballot(true), Error);
}

// Lanes read rows that are `stride` bytes apart.
__global__ void bank_kernel(uint32_t stride) {
  std::byte* shared = dynamic_shared<128>();
  uint32_t r[4];
  ldmatrix_x4(r, shared_address(shared) + uint32_t(lane()) * stride);
}

TEST(SimtEmulator, CountsBankConflicts) {
  const auto cycles = [](uint32_t stride) {
    Context ctx({.device = Device::simt});
    auto& emulator = ctx.state<simt::Emulator>();
    emulator.options().bank = true;
    emulator.options().race = simt::Switch::off;
    launch(ctx, bank_kernel, {.threads = 32, .shared_bytes = 8192}, stride);
    const auto counts = emulator.bank_conflicts();
    EXPECT_EQ(counts.size(), 1u);
    EXPECT_THAT(counts.begin()->first, HasSubstr("emulator_test.cpp:"));
    EXPECT_EQ(counts.begin()->second.accesses, 1u);
    EXPECT_EQ(counts.begin()->second.ideal_cycles, 4u);
    return counts.begin()->second.cycles;
  };
  EXPECT_EQ(cycles(16), 4u) << "8 rows of 16 bytes use every bank once";
  EXPECT_EQ(cycles(128), 32u) << "8 rows at the same banks";
  EXPECT_EQ(cycles(144), 4u) << "rows of 128 bytes padded by 16";
  EXPECT_EQ(cycles(0), 4u) << "the same row for all";
}

}  // namespace
}  // namespace tessera::simt_test
