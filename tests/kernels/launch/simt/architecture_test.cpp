// An emulated GPU older than Hopper: what it lacks is an error with the kernel's line, and the
// wrappers take the forms that it has.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/launch/gpu/device.h"
#include "kernels/launch/gpu/limits.h"
#include "kernels/launch/simt/matrix.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using namespace gpu;  // NOLINT

simt::Options options_of(const std::string& text) {
  simt::Options options;
  simt::parse_options(text, options);
  return options;
}

enum class Instruction {
  mma_bf16,
  mma_f16,
  mma_e4m3,
  cp_async,
  stmatrix,
  mbarrier,
  proxy_fence,
  wgmma,
  registers
};

// Runs the instruction itself where a wrapper would take another form.
__global__ void run_instruction(Instruction instruction) {
  float d[4] = {}, wide[8] = {};
  const uint32_t a[4] = {}, b[2] = {};
  auto* shared = shared_array<uint64_t, 64>();
  const uint32_t address = shared_address(shared);
  switch (instruction) {
    case Instruction::mma_bf16:
      return mma_m16n8k16<bf16>(d, a, b);
    case Instruction::mma_f16:
      return simt::mma({.k = 16, .a = simt::MatrixType::f16, .b = simt::MatrixType::f16}, d, a, b,
                       Site::here());
    case Instruction::mma_e4m3:
      return mma_m16n8k32<e4m3, e4m3>(d, a, b);
    case Instruction::cp_async:
      return simt::cp_async(address, nullptr, 16, 0, Site::here());
    case Instruction::stmatrix:
      return stmatrix_x4(address + uint32_t(lane()) * 16, a);
    case Instruction::mbarrier:
      return mbarrier_init(shared, 1);
    case Instruction::proxy_fence:
      return fence_proxy_async();
    case Instruction::wgmma:
      return wgmma_ss<16>(wide, 0, 0, false);
    case Instruction::registers:
      return set_max_registers_dec<24>();
  }
}

TEST(SimtArchitecture, InstructionsThatItLacksAreErrors) {
  const auto report = [](int architecture, Instruction instruction) {
    return error_of(options_of(fmt::format("architecture={}", architecture)), run_instruction,
                    {.threads = 128}, instruction);
  };
  const auto lacks = [](const std::string& what, int architecture) {
    return MatchesRegex(
        fmt::format("architecture_test.cpp:[0-9]+: {}; the emulated GPU is sm_{} "
                    ".block .0, 0, 0., thread [0-9]+ .*",
                    what, architecture));
  };
  using enum Instruction;
  EXPECT_THAT(report(75, mma_bf16), lacks("mma.m16n8k16.bf16 needs sm_80", 75));
  EXPECT_THAT(report(75, mma_f16), lacks("mma.m16n8k16.f16 needs sm_80", 75));
  EXPECT_THAT(report(75, cp_async), lacks("cp.async needs sm_80", 75));
  EXPECT_THAT(report(86, mma_e4m3), lacks("mma.m16n8k32.e4m3.e4m3 needs sm_89", 86));
  EXPECT_THAT(report(80, stmatrix), lacks("stmatrix needs sm_90", 80));
  EXPECT_THAT(report(80, mbarrier), lacks("mbarrier_init needs sm_90", 80));
  EXPECT_THAT(report(80, proxy_fence), lacks("fence_proxy_async needs sm_90", 80));
  EXPECT_THAT(report(89, wgmma), lacks("wgmma_ss needs sm_90", 89));
  EXPECT_THAT(report(89, registers), lacks("set_max_registers_dec needs sm_90", 89));
  for (const Instruction instruction : {mma_bf16, mma_f16}) EXPECT_EQ(report(80, instruction), "");
  EXPECT_EQ(report(89, mma_e4m3), "");
  EXPECT_EQ(report(90, stmatrix), "");
}

TEST(SimtArchitecture, HasItsSharedMemory) {
  const auto report = [](const std::string& options, int bytes) {
    return error_of(options_of(options), run_instruction, {.threads = 32, .shared_bytes = bytes},
                    Instruction::mma_f16);
  };
  EXPECT_THAT(report("architecture=75", 65537), HasSubstr("a block may have 65536"));
  EXPECT_THAT(report("architecture=86", 101377), HasSubstr("a block may have 101376"));
  EXPECT_THAT(report("architecture=75,shared_limit=49152", 49153), HasSubstr("may have 49152"));
}

__global__ void empty_kernel() {}

TEST(SimtArchitecture, RunsNoKernelsOfNewerOnes) {
  Context ctx({.device = Device::simt});
  ctx.state<simt::Emulator>().options() = options_of("architecture=75");
  launch<75>(ctx, empty_kernel, {});
  try {
    launch<80>(ctx, empty_kernel, {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "simt: a kernel that is compiled for sm_80 and newer, on an emulated sm_75");
  }
}

TEST(SimtArchitecture, IsWhatKernelsAreChosenBy) {
  const auto architecture = [](const std::string& text) {
    Context ctx({.device = Device::simt});
    ctx.state<simt::Emulator>().options() = options_of(text);
    return gpu_limits<Device::simt>(ctx).architecture;
  };
  EXPECT_EQ(architecture("architecture=75"), 75);
  EXPECT_EQ(architecture("architecture=86"), 80);
  EXPECT_EQ(architecture("seed=1"), 90);
  Context ctx({.device = Device::simt});
  ctx.state<simt::Emulator>().options() = options_of("architecture=75");
  EXPECT_EQ(gpu_limits<Device::simt>(ctx).shared_bytes, 65536);
  EXPECT_EQ(describe_gpu<Device::simt>(ctx), "simt (sm_75)");
}

// Each thread copies 16 bytes, and zeros behind them; nothing is committed or waited for.
__global__ void copy_kernel(const float* from, float* to) {
  float* tile = shared_array<float, 32 * 8>();
  const int t = int(thread_index().x);
  const uint32_t address = shared_address(tile + 8 * t);
  cp_async_16(address, from + 4 * t);
  cp_async_4(address + 16, from + 4 * t, 0);
  for (int i = 0; i < 5; ++i) to[5 * t + i] = tile[8 * t + i];
}

TEST(SimtArchitecture, CopiesArriveAtOnceOnSm75) {
  alignas(16) float from[128];
  for (int i = 0; i < 128; ++i) from[i] = float(i) + 1;
  std::vector<float> to(160);
  simt::Options options = options_of("architecture=75,async=late");
  ASSERT_EQ(error_of(options, copy_kernel, {.threads = 32}, from, to.data()), "");
  for (size_t t = 0; t < 32; ++t) {
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(to[5 * t + i], from[4 * t + i]);
    EXPECT_EQ(to[5 * t + 4], 0);
  }
  options.architecture = 80;
  EXPECT_NE(error_of(options, copy_kernel, {.threads = 32}, from, to.data()), "");
}

}  // namespace
}  // namespace tessera::simt_test
