// wgmma on every operand layout, against double precision, and setmaxnreg.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "core/random.h"
#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;
using namespace gpu;  // NOLINT

constexpr int kM = 64, kN = 64;

// Where element (mn, k) of a tile lies by the figures of the PTX ISA ("Strides" and "Canonical
// Layouts" of wgmma), with tiles of 64 mn and 32 bytes of k (k-major) or 16 k (mn-major).
template <class T>
struct Layout {
  Major major;
  Swizzle swizzle;

  __device__ uint32_t width() const { return 16u << int(swizzle); }  // bytes
  __device__ uint32_t leading() const {
    if (major == Major::k) return 8 * 16;  // without swizzle: the second half of k
    return swizzle == Swizzle::none ? 64 / 8 * 128 : 16 * width();
  }
  __device__ uint32_t stride() const {
    if (major == Major::k) return swizzle == Swizzle::none ? 2 * 8 * 16 : 8 * width();
    return swizzle == Swizzle::none ? 128 : 8 * width();
  }
  __device__ uint32_t offset(int mn, int k) const {
    const uint32_t u = uint32_t(mn), v = uint32_t(k), size = sizeof(T);
    uint32_t linear;
    if (major == Major::k) {
      const uint32_t byte = v * size;
      linear = swizzle == Swizzle::none
                   ? u / 8 * stride() + byte / 16 * leading() + u % 8 * 16 + byte % 16
                   : u * width() + byte;
    } else {
      const uint32_t byte = u * size;
      linear = swizzle == Swizzle::none
                   ? byte / 16 * stride() + v / 8 * leading() + v % 8 * 16 + byte % 16
                   : byte / width() * leading() + v * width() + byte % width();
    }
    const uint32_t row = linear / 128 % 8, bits = (1u << int(swizzle)) - 1;
    return linear ^ (row & bits) << 4;
  }
  __device__ uint64_t descriptor(uint32_t address) const {
    return matrix_descriptor(address, leading(), stride(), swizzle);
  }
};

constexpr int kTileBytes = 16384;

template <class T>
struct Problem {
  const T *a, *b;  // [64, k] and [k, 64]
  float* d;        // [64, 64]
  Layout<T> la, lb;
  bool accumulate;
};

template <class T, Major kA, Major kB>
__global__ void product_kernel(Problem<T> p, bool from_registers) {
  constexpr int kK = 32 / int(sizeof(T));
  std::byte* shared = dynamic_shared<1024>();
  const int t = int(thread_index().x), g = lane() / 4, q = lane() % 4;
  for (int i = t; i < kM * kK; i += 128) {
    const int mn = i / kK, k = i % kK;
    *reinterpret_cast<T*>(shared + p.la.offset(mn, k)) = p.a[mn * kK + k];
    *reinterpret_cast<T*>(shared + kTileBytes + p.lb.offset(mn, k)) = p.b[k * kN + mn];
  }
  fence_proxy_async();
  sync_block();
  float d[kN / 2];
  for (int i = 0; i < kN / 2; ++i) d[i] = float(i);
  uint32_t a[4] = {};
  constexpr int kPer = 4 / int(sizeof(T));
  for (int i = 0; i < 4; ++i) {
    for (int e = 0; e < kPer; ++e) {
      const int row = warp() * 16 + g + 8 * (i % 2), k = kPer * q + e + 4 * kPer * (i / 2);
      a[i] |= uint32_t(p.a[row * kK + k].bits) << (8 * int(sizeof(T)) * e);
    }
  }
  const uint32_t address = shared_address(shared);
  wgmma_fence();
  if (from_registers) {
    wgmma_rs<kN, T, T, kB>(d, a, p.lb.descriptor(address + kTileBytes), p.accumulate);
  } else {
    wgmma_ss<kN, T, T, kA, kB>(d, p.la.descriptor(address), p.lb.descriptor(address + kTileBytes),
                               p.accumulate);
  }
  wgmma_commit();
  wgmma_wait<0>();
  for (int i = 0; i < kN / 2; ++i) {
    const int row = warp() * 16 + g + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * q + i % 2;
    p.d[row * kN + column] = d[i];
  }
}

template <class T, Major kA, Major kB>
void expect_product(Swizzle swizzle, bool from_registers, bool accumulate) {
  constexpr size_t kK = 32 / sizeof(T);
  const Philox random(9, 1, 0);
  std::vector<T> a(kM * kK), b(kK * kN);
  for (size_t i = 0; i < a.size(); ++i) a[i] = from_float<T>(float(random.normal(i)));
  for (size_t i = 0; i < b.size(); ++i) b[i] = from_float<T>(float(random.normal(5000 + i)));
  std::vector<float> d(kM * kN);
  const Problem<T> p{a.data(), b.data(), d.data(), {kA, swizzle}, {kB, swizzle}, accumulate};
  ASSERT_EQ(error_of({}, product_kernel<T, kA, kB>,
                     {.threads = 128, .shared_bytes = 2 * kTileBytes}, p, from_registers),
            "");
  int wrong = 0;
  for (size_t row = 0; row < kM; ++row) {
    for (size_t column = 0; column < kN; ++column) {
      const size_t i = column / 8 * 4 + row / 8 % 2 * 2 + column % 2;  // the register
      double want = accumulate ? double(i) : 0.0;
      for (size_t k = 0; k < kK; ++k) {
        want += double(to_float(a[row * kK + k])) * to_float(b[k * kN + column]);
      }
      wrong += !(std::abs(d[row * kN + column] - want) < 1e-4);
    }
  }
  EXPECT_EQ(wrong, 0) << "swizzle " << int(swizzle) << ", major " << int(kA) << int(kB);
}

template <class T, Major kA, Major kB>
void expect_products() {
  for (int swizzle = 0; swizzle < 4; ++swizzle) {
    expect_product<T, kA, kB>(Swizzle(swizzle), false, true);
    if (kA == Major::k) expect_product<T, kA, kB>(Swizzle(swizzle), true, false);
  }
}

TEST(SimtWgmma, AllLayouts) {
  expect_products<bf16, Major::k, Major::k>();
  expect_products<bf16, Major::k, Major::mn>();
  expect_products<bf16, Major::mn, Major::k>();
  expect_products<f16, Major::mn, Major::mn>();
  expect_products<e4m3, Major::k, Major::k>();
  expect_products<e5m2, Major::k, Major::k>();
}

enum class Bug { no_fence, lanes_differ, never_waited_for, overlap, half_a_group, out_of_range };

__global__ void wrong_kernel(Bug bug) {
  std::byte* shared = dynamic_shared<1024>();
  for (int i = int(thread_index().x); i < 4096; i += int(block_size().x)) shared[i] = std::byte{0};
  fence_proxy_async();
  sync_block();
  const uint64_t tile = matrix_descriptor(shared_address(shared), 128, 256, Swizzle::none);
  const uint64_t far = matrix_descriptor(shared_address(shared) + 8192, 128, 256, Swizzle::none);
  float d[36] = {};
  float(&first)[32] = *reinterpret_cast<float(*)[32]>(d);
  float(&second)[32] = *reinterpret_cast<float(*)[32]>(d + (lane() % 2 ? 4 : 0));
  if (bug != Bug::no_fence) wgmma_fence();
  wgmma_ss<64>(first, bug == Bug::out_of_range ? far : tile, tile,
               bug != Bug::lanes_differ || lane() < 5);
  if (bug == Bug::overlap) wgmma_ss<64>(second, tile, tile, true);
  wgmma_commit();
  if (bug != Bug::never_waited_for) wgmma_wait<0>();
}

TEST(SimtWgmma, FindsMisuse) {
  const auto report = [](Bug bug) {
    return error_of({.race = simt::Switch::off}, wrong_kernel,
                    {.threads = bug == Bug::half_a_group ? 64 : 128, .shared_bytes = 4096}, bug);
  };
  EXPECT_THAT(report(Bug::no_fence), HasSubstr("no wgmma_fence since"));
  EXPECT_THAT(report(Bug::lanes_differ), HasSubstr("the operands of lanes 0 and 5 differ"));
  EXPECT_THAT(report(Bug::never_waited_for), HasSubstr("its result is never waited for"));
  EXPECT_THAT(report(Bug::overlap), HasSubstr("overlap those of an operation in flight"));
  EXPECT_THAT(report(Bug::half_a_group), HasSubstr("has an incomplete warpgroup"));
  EXPECT_THAT(report(Bug::out_of_range), HasSubstr("wgmma A: shared addresses"));
}

__global__ void one_warp_kernel() {
  if (warp() == 1) set_max_registers_dec<24>();
}

template <int kLess, int kMore>
__global__ void registers_kernel() {
  if (warp() < 4) {
    set_max_registers_dec<kLess>();
  } else {
    set_max_registers_inc<kMore>();
  }
}

TEST(SimtRegisters, AreTraded) {
  EXPECT_EQ(error_of({}, registers_kernel<24, 240>, {.threads = 384}), "");
  EXPECT_THAT(error_of({}, registers_kernel<24, 248>, {.threads = 384}),
              HasSubstr("set_max_registers_inc at wgmma_test.cpp:"));
  EXPECT_THAT(error_of({}, registers_kernel<24, 36>, {.threads = 384}),
              HasSubstr("36 registers are no multiple of 8"));
  EXPECT_THAT(error_of({}, registers_kernel<200, 240>, {.threads = 384}),
              HasSubstr("set_max_registers_dec: from 168 registers to 200"));
  EXPECT_THAT(error_of({}, one_warp_kernel, {.threads = 128}),
              HasSubstr("warps 0 and 1 of one warpgroup end with 255 and 24 registers"));
}

}  // namespace
}  // namespace tessera::simt_test
