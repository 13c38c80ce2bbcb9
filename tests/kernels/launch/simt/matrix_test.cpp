// ldmatrix, stmatrix and mma.sync against the layouts of the PTX ISA.
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

// Four 8x8 matrices one behind the other; element (m, r, c) is 64 m + 8 r + c.
enum class Load { x4, x4_trans, x2, x2_trans };

__global__ void load_kernel(Load load, uint32_t* out) {
  uint16_t* tile = shared_array<uint16_t, 256>();
  for (int i = lane(); i < 256; i += kWarpSize) tile[i] = uint16_t(i);
  sync_warp();
  const uint32_t address = shared_address(tile) + uint32_t(lane()) * 16;
  uint32_t four[4] = {}, two[2] = {};
  if (load == Load::x4) ldmatrix_x4(four, address);
  if (load == Load::x4_trans) ldmatrix_x4_trans(four, address);
  if (load == Load::x2) ldmatrix_x2(two, address);
  if (load == Load::x2_trans) ldmatrix_x2_trans(two, address);
  const bool is_four = load == Load::x4 || load == Load::x4_trans;
  for (int i = 0; i < (is_four ? 4 : 2); ++i) out[4 * lane() + i] = is_four ? four[i] : two[i];
}

TEST(SimtMatrix, LoadsGiveLanesTheirPairs) {
  for (const Load load : {Load::x4, Load::x4_trans, Load::x2, Load::x2_trans}) {
    std::vector<uint32_t> out(128);
    ASSERT_EQ(error_of({}, load_kernel, {.threads = 32}, load, out.data()), "");
    const bool transposed = load == Load::x4_trans || load == Load::x2_trans;
    const uint32_t matrices = load == Load::x4 || load == Load::x4_trans ? 4 : 2;
    for (uint32_t l = 0; l < 32; ++l) {
      for (uint32_t m = 0; m < matrices; ++m) {
        const uint32_t r = l / 4, c = l % 4 * 2;
        const uint32_t low = 64 * m + (transposed ? 8 * c + r : 8 * r + c);
        EXPECT_EQ(out[4 * l + m], low | (low + (transposed ? 8 : 1)) << 16);
      }
    }
  }
}

__global__ void store_kernel(bool transposed, uint16_t* out) {
  uint16_t* tile = shared_array<uint16_t, 256>();
  const uint32_t address = shared_address(tile) + uint32_t(lane()) * 16;
  uint32_t r[4];
  for (uint32_t m = 0; m < 4; ++m) {
    const uint32_t low = 64 * m + uint32_t(lane() / 4 * 8 + lane() % 4 * 2);
    r[m] = low | (low + 1) << 16;
  }
  if (transposed) {
    stmatrix_x4_trans(address, r);
  } else {
    stmatrix_x4(address, r);
  }
  sync_warp();
  for (int i = lane(); i < 256; i += kWarpSize) out[i] = tile[i];
}

TEST(SimtMatrix, StoresMirrorLoads) {
  for (const bool transposed : {false, true}) {
    std::vector<uint16_t> out(256);
    ASSERT_EQ(error_of({}, store_kernel, {.threads = 32}, transposed, out.data()), "");
    for (uint16_t i = 0; i < 256; ++i) {
      const int m = i / 64, r = i / 8 % 8, c = i % 8;
      EXPECT_EQ(out[i], transposed ? 64 * m + 8 * c + r : i);
    }
  }
}

__global__ void misaligned_kernel() {
  uint32_t r[4];
  ldmatrix_x4(r, shared_address(shared_array<uint32_t, 256>()) + uint32_t(lane()) * 8);
}

TEST(SimtMatrix, FindsMisalignedRows) {
  EXPECT_THAT(error_of({}, misaligned_kernel, {.threads = 32}),
              HasSubstr("ldmatrix: shared address 0x408 is not aligned to 16 bytes"));
}

// Elements of register i of A are row g + 8 (i % 2), columns from `first`; of B row `first`, column
// g (PTX ISA, the figures of "Matrix Fragments for mma.m16n8k*").
template <class T, int kDepth, int kRegistersA, int kRegistersB>
__device__ void fragments(const T* a, const T* b, uint32_t (&fa)[kRegistersA],
                          uint32_t (&fb)[kRegistersB]) {
  constexpr int kPer = 4 / sizeof(T);
  const int g = lane() / 4, t = lane() % 4;
  for (int i = 0; i < kRegistersA; ++i) {
    fa[i] = 0;
    for (int e = 0; e < kPer; ++e) {
      const int row = g + 8 * (i % 2), column = kPer * t + e + 4 * kPer * (i / 2);
      fa[i] |= uint32_t(a[row * kDepth + column].bits) << (8 * int(sizeof(T)) * e);
    }
  }
  for (int i = 0; i < kRegistersB; ++i) {
    fb[i] = 0;
    for (int e = 0; e < kPer; ++e) {
      const int row = kPer * t + e + 4 * kPer * i;
      fb[i] |= uint32_t(b[row * 8 + g].bits) << (8 * int(sizeof(T)) * e);
    }
  }
}

template <class T, int kDepth>
__global__ void mma_kernel(const T* a, const T* b, float* d) {
  const int g = lane() / 4, t = lane() % 4;
  constexpr int kRegistersB = kDepth * int(sizeof(T)) / 16;
  uint32_t fa[2 * kRegistersB], fb[kRegistersB];
  fragments<T, kDepth>(a, b, fa, fb);
  float c[4];
  for (int i = 0; i < 4; ++i) c[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  if constexpr (kDepth == 32) {
    mma_m16n8k32<T, T>(c, fa, fb);
  } else if constexpr (kDepth == 8) {
    mma_m16n8k8(c, fa, fb);
  } else {
    mma_m16n8k16<T>(c, fa, fb);
  }
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = c[i];
}

template <class T, int kDepth>
void expect_product() {
  const Philox random(7, 1, 0);
  std::vector<T> a(16 * kDepth), b(kDepth * 8);
  for (size_t i = 0; i < a.size(); ++i) a[i] = from_float<T>(float(random.normal(i)));
  for (size_t i = 0; i < b.size(); ++i) b[i] = from_float<T>(float(random.normal(1000 + i)));
  std::vector<float> d(128);
  for (size_t i = 0; i < 128; ++i) d[i] = float(i);
  ASSERT_EQ(error_of({}, mma_kernel<T, kDepth>, {.threads = 32}, a.data(), b.data(), d.data()), "");
  for (size_t row = 0; row < 16; ++row) {
    for (size_t column = 0; column < 8; ++column) {
      double want = double(8 * row + column);
      for (size_t k = 0; k < kDepth; ++k) {
        want += double(to_float(a[row * kDepth + k])) * to_float(b[k * 8 + column]);
      }
      // Sums of 32 terms below 2^8 in f32.
      EXPECT_NEAR(d[row * 8 + column], want, 32 * 0x1p-16) << row << ", " << column;
    }
  }
}

TEST(SimtMatrix, Products) {
  expect_product<bf16, 16>();
  expect_product<f16, 16>();
  expect_product<f16, 8>();
  expect_product<e4m3, 32>();
  expect_product<e5m2, 32>();
}

}  // namespace
}  // namespace tessera::simt_test
