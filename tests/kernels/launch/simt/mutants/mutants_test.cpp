// The emulator finds every one of these bugs, and none where there is none.
#include "tests/kernels/launch/simt/mutants/mutants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace tessera::simt_test {
namespace {

constexpr uint64_t kSeeds = 12;

using Run = std::function<std::string(const simt::Options&)>;

struct Mutant {
  std::string name;
  Run run;
  std::string finds;  // part of the report
};

template <class Bug>
Mutant mutant(std::string (*run)(const simt::Options&, Bug), Bug bug, const char* name,
              const char* finds) {
  return {name, [=](const simt::Options& options) { return run(options, bug); }, finds};
}

std::vector<Mutant> mutants() {
  return {
      mutant(run_rms_norm, RmsNormBug::no_barrier_before_partial_sums,
             "rms_norm_no_barrier_before_partial_sums", ""),
      mutant(run_rms_norm, RmsNormBug::no_barrier_before_result,
             "rms_norm_no_barrier_before_result", ""),
      mutant(run_rms_norm, RmsNormBug::shared_out_of_range, "rms_norm_shared_out_of_range", ""),
      mutant(run_flash, FlashBug::no_barrier_after_copies, "flash_no_barrier_after_copies", ""),
      mutant(run_flash, FlashBug::wrong_swizzle, "flash_wrong_swizzle", ""),
      mutant(run_flash, FlashBug::no_barrier_before_reuse, "flash_no_barrier_before_reuse", ""),
      mutant(run_flash, FlashBug::causal_off_by_one, "flash_causal_off_by_one", ""),
      mutant(run_flash, FlashBug::fragments_swapped, "flash_fragments_swapped", ""),
      mutant(run_flash, FlashBug::no_row_guard, "flash_no_row_guard", ""),
      mutant(run_flash, FlashBug::no_column_mask, "flash_no_column_mask", ""),
      mutant(run_flash, FlashBug::waits_for_too_few_copies, "flash_waits_for_too_few_copies", ""),
      mutant(run_flash, FlashBug::odd_lanes_shuffle, "flash_odd_lanes_shuffle", ""),
      mutant(run_flash, FlashBug::never_committed, "flash_never_committed", ""),
      mutant(run_flash, FlashBug::misaligned_rows, "flash_misaligned_rows", ""),
      mutant(run_flash, FlashBug::too_little_shared_memory, "flash_too_little_shared_memory", ""),
      mutant(run_gemm, GemmBug::no_barrier_after_init, "gemm_no_barrier_after_init", ""),
      mutant(run_gemm, GemmBug::wrong_swizzle_mode, "gemm_wrong_swizzle_mode", ""),
      mutant(run_gemm, GemmBug::producer_parity, "gemm_producer_parity", ""),
      mutant(run_gemm, GemmBug::consumer_parity, "gemm_consumer_parity", ""),
      mutant(run_gemm, GemmBug::wrong_stride, "gemm_wrong_stride", ""),
      mutant(run_gemm, GemmBug::no_expected_bytes, "gemm_no_expected_bytes", ""),
      mutant(run_gemm, GemmBug::too_few_expected_bytes, "gemm_too_few_expected_bytes", ""),
      mutant(run_gemm, GemmBug::early_release, "gemm_early_release", ""),
      mutant(run_gemm, GemmBug::no_proxy_fence, "gemm_no_proxy_fence", ""),
      mutant(run_gemm, GemmBug::no_wgmma_fence, "gemm_no_wgmma_fence", ""),
      mutant(run_gemm, GemmBug::released_one_stage_early, "gemm_released_one_stage_early", ""),
      mutant(run_gemm, GemmBug::no_barrier_before_epilogue, "gemm_no_barrier_before_epilogue", ""),
      mutant(run_gemm, GemmBug::too_many_arrivals, "gemm_too_many_arrivals", ""),
      mutant(run_gemm, GemmBug::no_wait_for_store, "gemm_no_wait_for_store", ""),
      mutant(run_gemm, GemmBug::transposed_coordinates, "gemm_transposed_coordinates", ""),
      mutant(run_hopper_attention, HopperAttentionBug::value_major, "hopper_attention_value_major",
             ""),
      mutant(run_hopper_attention, HopperAttentionBug::causal_off_by_one,
             "hopper_attention_causal_off_by_one", ""),
      mutant(run_hopper_attention, HopperAttentionBug::value_step, "hopper_attention_value_step",
             ""),
      mutant(run_hopper_attention, HopperAttentionBug::read_before_wait,
             "hopper_attention_read_before_wait", ""),
      mutant(run_hopper_attention, HopperAttentionBug::fragments_swapped,
             "hopper_attention_fragments_swapped", ""),
      mutant(run_hopper_attention, HopperAttentionBug::no_expected_bytes,
             "hopper_attention_no_expected_bytes", ""),
      mutant(run_hopper_attention, HopperAttentionBug::no_proxy_fence,
             "hopper_attention_no_proxy_fence", ""),
      mutant(run_hopper_attention, HopperAttentionBug::no_barrier_before_store,
             "hopper_attention_no_barrier_before_store", ""),
      mutant(run_hopper_attention, HopperAttentionBug::value_parity,
             "hopper_attention_value_parity", ""),
      mutant(run_hopper_attention, HopperAttentionBug::first_turn_missing,
             "hopper_attention_first_turn_missing", ""),
      mutant(run_hopper_attention, HopperAttentionBug::too_many_registers,
             "hopper_attention_too_many_registers", ""),
      mutant(run_hopper_attention, HopperAttentionBug::divergent_shuffle,
             "hopper_attention_divergent_shuffle", ""),
      mutant(run_hopper_attention, HopperAttentionBug::no_elect, "hopper_attention_no_elect", ""),
      mutant(run_hopper_attention, HopperAttentionBug::operand_overwritten,
             "hopper_attention_operand_overwritten", ""),
      mutant(run_hopper_attention, HopperAttentionBug::too_little_shared_memory,
             "hopper_attention_too_little_shared_memory", ""),
      mutant(run_hopper_attention, HopperAttentionBug::coordinates_swapped,
             "hopper_attention_coordinates_swapped", ""),
      mutant(run_hopper_attention, HopperAttentionBug::weak_alignment,
             "hopper_attention_weak_alignment", ""),
      mutant(run_hopper_attention, HopperAttentionBug::barrier_count,
             "hopper_attention_barrier_count", ""),
  };
}

class SimtMutant : public testing::TestWithParam<Mutant> {};

TEST_P(SimtMutant, IsFound) {
  simt::Options options;
  std::string report;
  for (options.seed = 1; report.empty() && options.seed <= kSeeds; ++options.seed) {
    report = GetParam().run(options);
  }
  EXPECT_NE(report, "") << "not found with " << kSeeds << " seeds";
  EXPECT_THAT(report, testing::HasSubstr(GetParam().finds));
  std::printf("SEED %d %s: %s\n", int(options.seed - 1), GetParam().name.c_str(), report.c_str());
}

INSTANTIATE_TEST_SUITE_P(All, SimtMutant, testing::ValuesIn(mutants()),
                         [](const auto& info) { return info.param.name; });

template <class Bug>
void expect_right(std::string (*run)(const simt::Options&, Bug), int seeds) {
  simt::Options options;
  for (options.seed = 1; options.seed <= uint64_t(seeds); ++options.seed) {
    EXPECT_EQ(run(options, Bug::none), "") << "seed " << options.seed;
  }
}

TEST(SimtKernels, RmsNormIsRight) {
  expect_right(run_rms_norm, 50);
}
TEST(SimtKernels, FlashIsRight) {
  expect_right(run_flash, 25);
}
TEST(SimtKernels, GemmIsRight) {
  expect_right(run_gemm, 25);
}
TEST(SimtKernels, HopperAttentionIsRight) {
  expect_right(run_hopper_attention, 25);
}

}  // namespace
}  // namespace tessera::simt_test
