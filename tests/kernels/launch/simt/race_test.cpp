// What the race detector reports about ordinary loads and stores, and what it does not. Compiled
// with race instrumentation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/launch/gpu/device.h"
#include "kernels/launch/gpu/reduce.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using namespace gpu;  // NOLINT

// The first report of 20 seeds.
template <class... P>
std::string report_of(void (*kernel)(P...), int threads, std::type_identity_t<P>... arguments) {
  std::string report;
  for (uint64_t seed = 1; report.empty() && seed <= 20; ++seed) {
    report =
        error_of({.seed = seed}, kernel, {.threads = threads, .shared_bytes = 256}, arguments...);
  }
  return report;
}

enum class Order { none, block, warp, atomic };

// Every thread writes its place and reads that of another one, in its warp if `near`.
__global__ void exchange_kernel(Order order, bool near, int* out) {
  int* values = shared_array<int, 64>();
  const int t = int(thread_index().x);
  values[t] = t;
  if (order == Order::block) sync_block();
  if (order == Order::warp) sync_warp();
  out[t] = values[near ? t ^ 1 : 63 - t];
}

TEST(SimtRace, ReadsNeedABarrier) {
  std::vector<int> out(64);
  const auto report = [&](Order order, bool near) {
    return report_of(exchange_kernel, 64, order, near, out.data());
  };
  EXPECT_THAT(report(Order::none, true), MatchesRegex("race_test.cpp:[0-9]+: .*read of shared.*"));
  EXPECT_THAT(report(Order::warp, false), HasSubstr("shared"));
  EXPECT_EQ(report(Order::warp, true), "");
  EXPECT_EQ(report(Order::block, false), "");
}

// Reads, then writes the same place from another thread.
__global__ void reuse_kernel(bool synchronised, int* out) {
  int* values = shared_array<int, 64>();
  const int t = int(thread_index().x);
  values[t] = t;
  sync_block();
  out[t] = values[(t + 32) % 64];
  if (synchronised) sync_block();
  values[t] = -t;
}

TEST(SimtRace, WritesWaitForReaders) {
  std::vector<int> out(64);
  EXPECT_THAT(report_of(reuse_kernel, 64, false, out.data()), HasSubstr("race: "));
  EXPECT_EQ(report_of(reuse_kernel, 64, true, out.data()), "");
}

// All threads write one place; or neighbouring bytes, which is no race.
template <class T>
__global__ void write_kernel(int places) {
  T* values = shared_array<T, 64>();
  values[int(thread_index().x) % places] = T(1);
}

TEST(SimtRace, WritesToOnePlace) {
  EXPECT_THAT(report_of(write_kernel<float>, 64, 1), HasSubstr("race: write of shared"));
  EXPECT_THAT(report_of(write_kernel<uint8_t>, 64, 63), HasSubstr("race: write of shared"));
  EXPECT_EQ(report_of(write_kernel<uint8_t>, 64, 64), "");
  EXPECT_EQ(report_of(write_kernel<double>, 64, 64), "");
}

__global__ void count_kernel(bool synchronised, int* out) {
  int* count = shared_array<int, 1>();
  if (thread_index().x == 0) *count = 0;
  sync_block();
  atomic_add(count, 1);
  if (synchronised) sync_block();
  if (thread_index().x == 5) *out = *count;
}

TEST(SimtRace, AtomicsRaceOnlyWithOrdinaryAccesses) {
  int count = 0;
  EXPECT_THAT(report_of(count_kernel, 64, false, &count), HasSubstr("race: "));
  EXPECT_EQ(report_of(count_kernel, 64, true, &count), "");
  EXPECT_EQ(count, 64);
}

__global__ void copy_kernel(bool synchronised, const int* from, int* out) {
  int* values = shared_array<int, 64>();
  const int t = int(thread_index().x);
  cp_async_4(shared_address(values + t), from + t);
  if (synchronised) sync_block();
  out[t] = values[63 - t];
}

// cp.async on sm_75 is a load and a store.
TEST(SimtRace, CopiesOfSm75AreOrdinaryWrites) {
  const std::vector<int> from(64, 7);
  std::vector<int> out(64);
  const auto report = [&](bool synchronised) {
    return error_of({.architecture = 75}, copy_kernel, {.threads = 64}, synchronised, from.data(),
                    out.data());
  };
  EXPECT_THAT(report(false), MatchesRegex("race_test.cpp:[0-9]+: .*read of shared.*"));
  EXPECT_EQ(report(true), "");
  EXPECT_EQ(out, from);
}

__global__ void named_kernel(int* out) {
  int* values = shared_array<int, 64>();
  const int t = int(thread_index().x) % 64;
  if (warp() < 2) {
    values[t] = t;
    barrier_arrive(1, 128);
  } else {
    barrier_sync(1, 128);
    out[t] = values[63 - t];
  }
}

__global__ void mbarrier_kernel(int* out) {
  int* values = shared_array<int, 64>();
  uint64_t* barrier = shared_array<uint64_t, 1>();
  const int t = int(thread_index().x) % 64;
  if (thread_index().x == 0) mbarrier_init(barrier, 64);
  sync_block();
  if (warp() < 2) {
    values[t] = t;
    mbarrier_arrive(barrier);
  } else {
    mbarrier_wait(barrier, 0);
    out[t] = values[63 - t];
  }
}

TEST(SimtRace, BarriersOrder) {
  std::vector<int> out(64);
  EXPECT_EQ(report_of(named_kernel, 128, out.data()), "");
  EXPECT_EQ(report_of(mbarrier_kernel, 128, out.data()), "");
}

enum class Access { in_range, uninitialised, out_of_range, misaligned, vector };

__global__ void access_kernel(Access access, float* out) {
  float* values = shared_array<float, 8>();
  for (int i = 0; i < 7; ++i) values[i] = float(i);
  if (access == Access::in_range) *out = values[6];
  if (access == Access::uninitialised) *out = values[7];
  if (access == Access::out_of_range) *out = values[8];
  if (access == Access::misaligned) {
    *out = *reinterpret_cast<float*>(reinterpret_cast<char*>(values) + 2);
  }
  if (access == Access::vector) *out = load_vector<float, 4>(values + 4).v[0];
}

TEST(SimtRace, ChecksEveryAccess) {
  float out = 0;
  const auto report = [&](Access access) { return report_of(access_kernel, 1, access, &out); };
  EXPECT_EQ(report(Access::in_range), "");
  EXPECT_THAT(report(Access::uninitialised), HasSubstr("uninitialised read of shared [0x41c]"));
  EXPECT_THAT(report(Access::out_of_range), HasSubstr("load: shared addresses [0x420, +4) are in"));
  EXPECT_THAT(report(Access::misaligned), HasSubstr("is not aligned to 4 bytes"));
  EXPECT_THAT(report(Access::vector), HasSubstr("uninitialised read of shared [0x41c]"));
}

// Ordinary accesses with a stride of words between lanes.
__global__ void stride_kernel(int stride) {
  float* values = reinterpret_cast<float*>(dynamic_shared<128>());
  values[lane() * stride] = 1;
}

TEST(SimtRace, CountsBankConflictsOfStores) {
  const auto cycles = [](int stride) {
    Context ctx({.device = Device::simt});
    auto& emulator = ctx.state<simt::Emulator>();
    emulator.options().bank = true;
    launch(ctx, stride_kernel, {.threads = 32, .shared_bytes = 8192}, stride);
    uint64_t sum = 0;
    for (const auto& [line, count] : emulator.bank_conflicts()) sum += count.cycles;
    return sum;
  };
  EXPECT_EQ(cycles(1), 1u);
  EXPECT_EQ(cycles(2), 2u);
  EXPECT_EQ(cycles(32), 32u);
  EXPECT_EQ(cycles(33), 1u);
}

__global__ void partial_access_kernel() {
  float* values = shared_array<float, 64>();
  values[thread_index().x] = 1;
  sync_block();
}

TEST(SimtRace, CountsBankConflictsAlikeForAnyResidentBlocks) {
  const auto count = [](int resident) {
    Context ctx({.device = Device::simt});
    auto& emulator = ctx.state<simt::Emulator>();
    emulator.options() = {.schedule = simt::Schedule::uniform, .bank = true, .resident = resident};
    launch(ctx, partial_access_kernel, {.x = 9, .threads = 64});
    uint64_t accesses = 0;
    for (const auto& [line, n] : emulator.bank_conflicts()) accesses += n.accesses;
    return accesses;
  };
  EXPECT_EQ(count(1), 9u * 2);
  EXPECT_EQ(count(3), 9u * 2);
}

__global__ void reduce_kernel(float* out) {
  const float sum = block_sum<128>(1.0f);
  const float most = block_max<128>(float(thread_index().x));
  if (thread_index().x == 0) *out = sum + most;
}

TEST(SimtRace, ReductionsAreFree) {
  float out = 0;
  EXPECT_EQ(report_of(reduce_kernel, 128, &out), "");
  EXPECT_EQ(out, 128 + 127);
}

// The first report of 20 seeds for two blocks of 64 threads.
template <class... P>
std::string report_of_two(void (*kernel)(P...), std::type_identity_t<P>... arguments) {
  std::string report;
  for (uint64_t seed = 1; report.empty() && seed <= 20; ++seed)
    report = error_of({.seed = seed}, kernel, {.x = 2, .threads = 64}, arguments...);
  return report;
}

__device__ int number_of_thread() {
  return int(block_index().x) * 64 + int(thread_index().x);
}

// Every thread of both blocks writes one of `places` elements.
template <class T>
__global__ void global_write_kernel(int places, T* out) {
  out[number_of_thread() % places] = T(1);
}

TEST(SimtGlobalRace, BlocksWriteDifferentElements) {
  std::vector<float> floats(128);
  std::vector<uint8_t> bytes(128);
  EXPECT_EQ(report_of_two(global_write_kernel<float>, 128, floats.data()), "");
  EXPECT_EQ(report_of_two(global_write_kernel<uint8_t>, 128, bytes.data()), "");
  EXPECT_THAT(report_of_two(global_write_kernel<float>, 64, floats.data()),
              MatchesRegex("race_test.cpp:[0-9]+: race: write of global .*is not ordered after the "
                           "write by block [01], thread [0-9]+ at race_test.cpp:[0-9]+ .*"));
  EXPECT_THAT(report_of_two(global_write_kernel<uint8_t>, 127, bytes.data()),
              HasSubstr("race: write of global"));
}

// Every thread writes its element and reads that of a thread of its block.
__global__ void global_exchange_kernel(Order order, int* values, int* out) {
  const int t = number_of_thread(), other = t ^ 1;
  values[t] = t;
  if (order == Order::block) sync_block();
  if (order == Order::warp) sync_warp();
  out[t] = values[other];
}

TEST(SimtGlobalRace, ThreadsOfABlockNeedABarrier) {
  std::vector<int> values(128), out(128);
  const auto report = [&](Order order) {
    return report_of_two(global_exchange_kernel, order, values.data(), out.data());
  };
  EXPECT_THAT(report(Order::none), HasSubstr("of global"));
  EXPECT_EQ(report(Order::warp), "");
  EXPECT_EQ(report(Order::block), "");
}

// What the other block writes, read by an ordinary load or a cp.async; nobody waits for blocks.
__global__ void global_neighbour_kernel(bool copies, int* values, int* out) {
  int* tile = shared_array<int, 64>();
  const int t = number_of_thread(), other = t ^ 64;
  sync_block();
  if (block_index().x == 0) values[t] = t;
  if (block_index().x == 1 && copies) {
    cp_async_4(shared_address(tile + thread_index().x), values + other);
    cp_async_commit();
    cp_async_wait<0>();
  } else if (block_index().x == 1) {
    out[t] = values[other];
  }
}

TEST(SimtGlobalRace, NothingOrdersBlocks) {
  std::vector<int> values(128), out(128);
  for (const bool copies : {false, true}) {
    EXPECT_THAT(report_of_two(global_neighbour_kernel, copies, values.data(), out.data()),
                HasSubstr("of global"));
  }
}

enum class Sum { atomics, one_plain, read_early };

__global__ void global_sum_kernel(Sum sum, float* total, float* out) {
  if (sum == Sum::one_plain && number_of_thread() == 77) {
    *total += 1;
  } else {
    atomic_add(total, 1.0f);
  }
  if (sum == Sum::read_early && number_of_thread() == 77) *out = *total;
}

TEST(SimtGlobalRace, AtomicsRaceOnlyWithOrdinaryAccesses) {
  float total = 0, out = 0;
  const auto report = [&](Sum sum) { return report_of_two(global_sum_kernel, sum, &total, &out); };
  EXPECT_EQ(report(Sum::atomics), "");
  EXPECT_EQ(total, 20 * 128);
  EXPECT_THAT(report(Sum::one_plain), HasSubstr("of global"));
  EXPECT_THAT(report(Sum::read_early), HasSubstr("of global"));
}

// All read the first element; one of them then writes it.
__global__ void global_reuse_kernel(bool writes, float* x, float* out) {
  out[number_of_thread()] = x[0];
  sync_block();
  if (writes && number_of_thread() == 0) x[0] = 2;
}

TEST(SimtGlobalRace, WritesWaitForReadersOfOtherBlocks) {
  std::vector<float> x(1), out(128);
  EXPECT_EQ(report_of_two(global_reuse_kernel, false, x.data(), out.data()), "");
  EXPECT_THAT(report_of_two(global_reuse_kernel, true, x.data(), out.data()),
              HasSubstr("of global"));
}

}  // namespace
}  // namespace tessera::simt_test
