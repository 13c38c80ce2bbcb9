// The emulator with race checks finds every one of these bugs, and none where there is none.
#include "tests/kernels/launch/simt/mutants/mutants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>

namespace tessera::simt_test {
namespace {

constexpr uint64_t kSeeds = 12;

using Run = std::function<std::string(const simt::Options&)>;

struct Mutant {
  std::string name;
  Run run;
  std::string finds;  // part of the report; empty if that depends on the schedule

  friend void PrintTo(const Mutant& mutant, std::ostream* stream) { *stream << mutant.name; }
};

template <class Bug>
Mutant mutant(std::string (*run)(const simt::Options&, Bug), Bug bug, const char* name,
              const char* finds) {
  return {name, [=](const simt::Options& options) { return run(options, bug); }, finds};
}

using Mutants = std::vector<Mutant>;

Mutants mma_mutants() {
  return {
      mutant(run_rms_norm, RmsNormBug::no_barrier_before_partial_sums,
             "rms_norm_no_barrier_before_partial_sums", "uninitialised read"),
      mutant(run_rms_norm, RmsNormBug::no_barrier_before_result,
             "rms_norm_no_barrier_before_result", "uninitialised read"),
      mutant(run_rms_norm, RmsNormBug::shared_out_of_range, "rms_norm_shared_out_of_range",
             "are in no array"),
      mutant(run_flash, FlashBug::no_barrier_after_copies, "flash_no_barrier_after_copies",
             "race: read"),
      mutant(run_flash, FlashBug::wrong_swizzle, "flash_wrong_swizzle", "o["),
      mutant(run_flash, FlashBug::no_barrier_before_reuse, "flash_no_barrier_before_reuse",
             "race: write"),
      mutant(run_flash, FlashBug::causal_off_by_one, "flash_causal_off_by_one", "o["),
      mutant(run_flash, FlashBug::fragments_swapped, "flash_fragments_swapped", "o["),
      mutant(run_flash, FlashBug::no_row_guard, "flash_no_row_guard", "written beyond its end"),
      mutant(run_flash, FlashBug::no_column_mask, "flash_no_column_mask", "o["),
      mutant(run_flash, FlashBug::waits_for_too_few_copies, "flash_waits_for_too_few_copies",
             "while an asynchronous copy into it is in flight"),
      mutant(run_flash, FlashBug::odd_lanes_shuffle, "flash_odd_lanes_shuffle", "warp divergence"),
      mutant(run_flash, FlashBug::never_committed, "flash_never_committed",
             "while an asynchronous copy into it is in flight"),
      mutant(run_flash, FlashBug::misaligned_rows, "flash_misaligned_rows",
             "is not aligned to 16 bytes"),
      mutant(run_flash, FlashBug::too_little_shared_memory, "flash_too_little_shared_memory",
             "are in no array"),
  };
}

Mutants gemm_mutants() {
  return {
      mutant(run_gemm, GemmBug::no_barrier_after_init, "gemm_no_barrier_after_init",
             "no mbarrier has been initialised"),
      mutant(run_gemm, GemmBug::wrong_swizzle_mode, "gemm_wrong_swizzle_mode", "c["),
      mutant(run_gemm, GemmBug::producer_parity, "gemm_producer_parity", "deadlock"),
      mutant(run_gemm, GemmBug::consumer_parity, "gemm_consumer_parity",
             "while an asynchronous copy into it is in flight"),
      mutant(run_gemm, GemmBug::wrong_stride, "gemm_wrong_stride", "c["),
      mutant(run_gemm, GemmBug::no_expected_bytes, "gemm_no_expected_bytes", "race: read"),
      mutant(run_gemm, GemmBug::too_few_expected_bytes, "gemm_too_few_expected_bytes",
             "race: read"),
      mutant(run_gemm, GemmBug::early_release, "gemm_early_release", "race: write"),
      mutant(run_gemm, GemmBug::no_proxy_fence, "gemm_no_proxy_fence", "missing fence_proxy_async"),
      mutant(run_gemm, GemmBug::no_wgmma_fence, "gemm_no_wgmma_fence", "no wgmma_fence"),
      mutant(run_gemm, GemmBug::released_one_stage_early, "gemm_released_one_stage_early",
             "race: "),
      mutant(run_gemm, GemmBug::no_barrier_before_epilogue, "gemm_no_barrier_before_epilogue",
             "race: write"),
      mutant(run_gemm, GemmBug::too_many_arrivals, "gemm_too_many_arrivals", "race: read"),
      mutant(run_gemm, GemmBug::no_wait_for_store, "gemm_no_wait_for_store", "race: write"),
      mutant(run_gemm, GemmBug::transposed_coordinates, "gemm_transposed_coordinates", "c["),
  };
}

Mutants attention_mutants() {
  return {
      mutant(run_hopper_attention, HopperAttentionBug::value_major, "hopper_attention_value_major",
             ""),
      mutant(run_hopper_attention, HopperAttentionBug::causal_off_by_one,
             "hopper_attention_causal_off_by_one", "o["),
      mutant(run_hopper_attention, HopperAttentionBug::value_step, "hopper_attention_value_step",
             "o["),
      mutant(run_hopper_attention, HopperAttentionBug::read_before_wait,
             "hopper_attention_read_before_wait", "race: "),
      mutant(run_hopper_attention, HopperAttentionBug::fragments_swapped,
             "hopper_attention_fragments_swapped", "o["),
      mutant(run_hopper_attention, HopperAttentionBug::no_expected_bytes,
             "hopper_attention_no_expected_bytes", "race: read"),
      mutant(run_hopper_attention, HopperAttentionBug::no_proxy_fence,
             "hopper_attention_no_proxy_fence", "missing fence_proxy_async"),
      mutant(run_hopper_attention, HopperAttentionBug::no_barrier_before_store,
             "hopper_attention_no_barrier_before_store", "race: read"),
      mutant(run_hopper_attention, HopperAttentionBug::value_parity,
             "hopper_attention_value_parity", "deadlock"),
      mutant(run_hopper_attention, HopperAttentionBug::first_turn_missing,
             "hopper_attention_first_turn_missing", "deadlock"),
      mutant(run_hopper_attention, HopperAttentionBug::too_many_registers,
             "hopper_attention_too_many_registers", "deadlock"),
      mutant(run_hopper_attention, HopperAttentionBug::divergent_shuffle,
             "hopper_attention_divergent_shuffle", "warp divergence"),
      mutant(run_hopper_attention, HopperAttentionBug::no_elect, "hopper_attention_no_elect",
             "more than the 1 arrivals"),
      mutant(run_hopper_attention, HopperAttentionBug::operand_overwritten,
             "hopper_attention_operand_overwritten", "changed before wgmma_wait"),
      mutant(run_hopper_attention, HopperAttentionBug::too_little_shared_memory,
             "hopper_attention_too_little_shared_memory", "are in no array"),
      mutant(run_hopper_attention, HopperAttentionBug::coordinates_swapped,
             "hopper_attention_coordinates_swapped", ""),
      mutant(run_hopper_attention, HopperAttentionBug::weak_alignment,
             "hopper_attention_weak_alignment", "swizzle pattern"),
      mutant(run_hopper_attention, HopperAttentionBug::barrier_count,
             "hopper_attention_barrier_count", "barrier"),
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
}

const auto kNames = [](const auto& test) { return test.param.name; };
INSTANTIATE_TEST_SUITE_P(Mma, SimtMutant, testing::ValuesIn(mma_mutants()), kNames);
INSTANTIATE_TEST_SUITE_P(Gemm, SimtMutant, testing::ValuesIn(gemm_mutants()), kNames);
INSTANTIATE_TEST_SUITE_P(Attention, SimtMutant, testing::ValuesIn(attention_mutants()), kNames);

}  // namespace
}  // namespace tessera::simt_test
