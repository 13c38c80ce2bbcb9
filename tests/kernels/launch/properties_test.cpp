// Peaks that follow from a device's properties.
#include "kernels/launch/cuda/properties.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

// Data sheets of A100 (SXM) and T4, in TFLOP/s: 312 in bf16, 156 in tf32, 19.5 in f32; T4 has no
// tf32 and 8.1 in f32.
TEST(CudaProperties, PeaksAreThoseOfTheDataSheets) {
  const CudaProperties a100{.major = 8, .minor = 0, .multiprocessors = 108, .clock = 1.41e9};
  EXPECT_NEAR(a100.peak_flops(DType::bf16), 312e12, 1e12);
  EXPECT_NEAR(a100.peak_flops(DType::bf16, true), 312e12, 1e12);
  EXPECT_NEAR(a100.peak_flops(DType::f32), 19.5e12, 0.1e12);
  EXPECT_NEAR(a100.peak_flops(DType::f32, true), 156e12, 0.5e12);
  const CudaProperties t4{.major = 7, .minor = 5, .multiprocessors = 40, .clock = 1.59e9};
  EXPECT_NEAR(t4.peak_flops(DType::f32, true), 8.1e12, 0.1e12);
}

}  // namespace
}  // namespace tessera
