// Arithmetic, conversions, vectors and atomics.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = NAN;
constexpr float kSubnormal = 0x1p-140f;

TEST(SimtValues, ApproximationsFlushSubnormals) {
  EXPECT_EQ(gpu::exp2_approx(3.0f), 8.0f);
  EXPECT_EQ(gpu::exp2_approx(-130.0f), 0.0f);
  EXPECT_EQ(gpu::exp2_approx(-kInf), 0.0f);
  EXPECT_EQ(gpu::log2_approx(8.0f), 3.0f);
  EXPECT_EQ(gpu::log2_approx(kSubnormal), -kInf);
  EXPECT_EQ(gpu::rsqrt_approx(4.0f), 0.5f);
  EXPECT_EQ(gpu::rsqrt_approx(kSubnormal), kInf);
  EXPECT_EQ(gpu::rcp_approx(4.0f), 0.25f);
  EXPECT_EQ(gpu::rcp_approx(-kSubnormal), -kInf);
  EXPECT_EQ(gpu::rcp_approx(0x1p127f), 0.0f) << "2^-127 is subnormal";
}

TEST(SimtValues, MinMaxPreferNumbers) {
  EXPECT_EQ(gpu::min(kNaN, 1.0f), 1.0f);
  EXPECT_EQ(gpu::min(1.0f, kNaN), 1.0f);
  EXPECT_EQ(gpu::max(double(kNaN), 1.0), 1.0);
  EXPECT_EQ(gpu::max(1.0f, kNaN), 1.0f);
  EXPECT_EQ(gpu::max(-2, 3), 3);
  EXPECT_EQ(gpu::min(-2, 3), -2);
}

TEST(SimtValues, FusedMultiplyAddRoundsOnce) {
  EXPECT_EQ(gpu::fma(1 + 0x1p-12f, 1 + 0x1p-12f, -1.0f), 0x1p-11f + 0x1p-24f);
  EXPECT_EQ(gpu::fma(2.0, 3.0, 4.0), 10.0);
  EXPECT_EQ(gpu::fma(2, 3, 4), 10);
}

TEST(SimtValues, Bits) {
  EXPECT_EQ(gpu::bits(1.0f), 0x3f800000u);
  EXPECT_EQ(gpu::from_bits(0xc0000000u), -2.0f);
  EXPECT_EQ(gpu::mul_hi(0xffffffffu, 0xffffffffu), 0xfffffffeu);
}

TEST(SimtValues, Conversions) {
  EXPECT_EQ(gpu::pack<bf16>(1.0f, -2.0f), 0xc0003f80u);
  EXPECT_EQ(gpu::pack<f16>(1.0f, -2.0f), 0xc0003c00u);
  float lo = 0, hi = 0;
  gpu::unpack<f16>(0xc0003c00u, lo, hi);
  EXPECT_EQ(lo, 1.0f);
  EXPECT_EQ(hi, -2.0f);
  EXPECT_EQ(gpu::from_float<bf16>(1 + 0x1p-8f).bits, 0x3f80) << "a tie goes to even";
  EXPECT_EQ(gpu::from_float<e4m3>(1000.0f).bits, 0x7e) << "saturates at 448";
  EXPECT_EQ(gpu::to_float(e5m2{0x3c}), 1.0f);
  EXPECT_EQ(gpu::widen(bf16{0x3f80}), 1.0f);
  EXPECT_EQ(gpu::widen(1.0 / 3), 1.0 / 3) << "doubles stay doubles";
  EXPECT_EQ(gpu::narrow<double>(1.0 / 3), 1.0 / 3);
  EXPECT_EQ(gpu::narrow<bf16>(1.0f).bits, 0x3f80);
}

__global__ void vector_kernel(const float* from, float* to) {
  const auto a = gpu::load_vector<float, 4>(from);
  const auto b = gpu::load_streaming<float, 8>(from + 4);
  gpu::store_vector(to, gpu::Vector<float, 2>{{a.v[0], a.v[3]}});
  gpu::store_streaming(to + 4, b);
}

TEST(SimtValues, Vectors) {
  alignas(32) float from[16], to[16] = {};
  std::iota(from, from + 16, 1.0f);
  ASSERT_EQ(error_of({}, vector_kernel, {.threads = 1}, from, to), "");
  EXPECT_EQ(to[0], 1);
  EXPECT_EQ(to[1], 4);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(to[4 + i], from[4 + i]);
  EXPECT_THAT(error_of({}, vector_kernel, {.threads = 1}, from + 1, to),
              HasSubstr("load_vector: address"));
  EXPECT_THAT(error_of({}, vector_kernel, {.threads = 1}, from, to + 1),
              HasSubstr("is not aligned to 8 bytes"));
}

__global__ void store_kernel(float* global, bool to_shared) {
  float* shared = gpu::shared_array<float, 4>();
  const gpu::Vector<float, 4> values{{1, 2, 3, 4}};
  gpu::store_vector(shared, values);
  gpu::store_global(to_shared ? shared : global, values);
}

// On a GPU the instruction would take the address for one in global memory.
TEST(SimtValues, StoresToGlobalMemoryRefuseSharedMemory) {
  alignas(16) float global[4] = {};
  ASSERT_EQ(error_of({}, store_kernel, {.threads = 1}, global, false), "");
  EXPECT_EQ(global[3], 4);
  EXPECT_THAT(error_of({}, store_kernel, {.threads = 1}, global, true),
              HasSubstr("is in shared memory; use store_vector"));
}

struct Counters {
  int32_t i32 = 0;
  uint32_t u32 = 0, most = 0;
  uint64_t u64 = 0;
  float f32 = 0;
};

__global__ void atomic_kernel(Counters* c, uint32_t* tickets) {
  uint32_t* shared = gpu::shared_array<uint32_t, 1>();
  const uint32_t t = gpu::thread_index().x;
  if (t == 0) *shared = 0;
  gpu::sync_block();
  gpu::atomic_add(shared, 1u);
  gpu::atomic_add(&c->i32, -1);
  gpu::atomic_add(&c->u64, uint64_t{1} << 33);
  gpu::atomic_add(&c->f32, 0.5f);
  gpu::atomic_max(&c->most, (t * 37) % 64);
  tickets[gpu::atomic_add(&c->u32, 1u)] = 1;
  gpu::thread_fence();
  gpu::sync_block();
  if (t == 0 && *shared != 64) c->i32 = 0;
}

TEST(SimtValues, Atomics) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    Counters c;
    std::vector<uint32_t> tickets(512);
    ASSERT_EQ(error_of({.seed = seed, .workers = 2, .resident = 2}, atomic_kernel,
                       {.x = 8, .threads = 64}, &c, tickets.data()),
              "");
    EXPECT_EQ(c.i32, -512);
    EXPECT_EQ(c.u32, 512u);
    EXPECT_EQ(c.u64, uint64_t{512} << 33);
    EXPECT_EQ(c.f32, 256.0f);
    EXPECT_EQ(c.most, 63u);
    EXPECT_EQ(std::accumulate(tickets.begin(), tickets.end(), 0u), 512u);
  }
}

}  // namespace
}  // namespace tessera::simt_test
