// The mutants' kernels without their bugs are right for many schedules, and nothing is reported:
// built with race checks and without.
#include <gtest/gtest.h>

#include "tests/kernels/launch/simt/mutants/mutants.h"

namespace tessera::simt_test {
namespace {

template <class Bug>
void expect_right(std::string (*run)(const simt::Options&, Bug), uint64_t seeds) {
  simt::Options options;
  for (options.seed = 1; options.seed <= seeds; ++options.seed) {
    EXPECT_EQ(run(options, Bug::none), "") << "seed " << options.seed;
  }
}

TEST(SimtKernels, RmsNormIsRight) {
  expect_right(run_rms_norm, 30);
}
TEST(SimtKernels, FlashIsRight) {
  expect_right(run_flash, 15);
}
TEST(SimtKernels, GemmIsRight) {
  expect_right(run_gemm, 15);
}
TEST(SimtKernels, HopperAttentionIsRight) {
  expect_right(run_hopper_attention, 15);
}

}  // namespace
}  // namespace tessera::simt_test
