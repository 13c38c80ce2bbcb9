// The emulator with race checks finds every one of these bugs, and none where there is none.
#include "tests/kernels/launch/simt/mutants/mutants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <ostream>

#include "core/check.h"

namespace tessera::simt_test {
namespace {

constexpr uint64_t kSeeds = 12;

using Run = std::function<std::string(const simt::Options&)>;

struct Mutant {
  std::string name;
  Run run;
  std::string finds;  // part of the report; empty if that depends on the schedule
  bool needs_race_checks = false;

  friend void PrintTo(const Mutant& mutant, std::ostream* stream) { *stream << mutant.name; }
};

template <class Bug>
Mutant mutant(std::string (*run)(const simt::Options&, Bug), Bug bug, const char* name,
              const char* finds, bool needs_race_checks = false) {
  return {name, [=](const simt::Options& options) { return run(options, bug); }, finds,
          needs_race_checks};
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
      mutant(run_gemm, GemmBug::no_proxy_fence, "gemm_no_proxy_fence", "missing fence_proxy_async",
             true),
      mutant(run_gemm, GemmBug::no_wgmma_fence, "gemm_no_wgmma_fence", "no wgmma_fence"),
      mutant(run_gemm, GemmBug::released_one_stage_early, "gemm_released_one_stage_early",
             "race: "),
      mutant(run_gemm, GemmBug::no_barrier_before_epilogue, "gemm_no_barrier_before_epilogue",
             "race: write"),
      mutant(run_gemm, GemmBug::too_many_arrivals, "gemm_too_many_arrivals", "race: read"),
      mutant(run_gemm, GemmBug::no_wait_for_store, "gemm_no_wait_for_store", "race: write"),
      mutant(run_gemm, GemmBug::transposed_coordinates, "gemm_transposed_coordinates", "c["),
      mutant(run_gemm, GemmBug::one_thread_waits_for_tiles, "gemm_one_thread_waits_for_tiles",
             "race: read", true),
      mutant(run_gemm, GemmBug::no_wait_at_exit, "gemm_no_wait_at_exit",
             "exits without waiting for the store"),
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
             "hopper_attention_no_proxy_fence", "missing fence_proxy_async", true),
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

// The report of the first seed that finds the mutant, "" if none does.
std::string report_of(const Mutant& mutant, simt::Options options) {
  std::string report;
  for (options.seed = 1; report.empty() && options.seed <= kSeeds; ++options.seed) {
    report = mutant.run(options);
  }
  return report;
}

TEST_P(SimtMutant, IsFound) {
  const std::string report = report_of(GetParam(), {});
  EXPECT_NE(report, "") << "not found with " << kSeeds << " seeds";
  EXPECT_THAT(report, testing::HasSubstr(GetParam().finds));
}

TEST_P(SimtMutant, IsFoundWithoutRaceChecksIfItHasAnEffect) {
  const std::string report = report_of(GetParam(), {.race = simt::Switch::off});
  EXPECT_EQ(report.empty(), GetParam().needs_race_checks) << report;
}

TEST(SimtMutants, AreAsManyAsTheDocumentationSays) {
  size_t all = 0, needy = 0;
  for (const Mutants& some : {mma_mutants(), gemm_mutants(), attention_mutants()}) {
    all += some.size();
    needy += size_t(std::ranges::count(some, true, &Mutant::needs_race_checks));
  }
  std::ifstream file(TESSERA_SIMT_DOCUMENTATION);
  std::string text, word;
  while (file >> word) text += word + " ";
  EXPECT_THAT(text, testing::HasSubstr(fmt::format("four small kernels with {} bugs", all)));
  EXPECT_THAT(text, testing::HasSubstr(fmt::format("with race checks, {} without", all - needy)));
}

const auto kNames = [](const auto& test) { return test.param.name; };
INSTANTIATE_TEST_SUITE_P(Mma, SimtMutant, testing::ValuesIn(mma_mutants()), kNames);
INSTANTIATE_TEST_SUITE_P(Gemm, SimtMutant, testing::ValuesIn(gemm_mutants()), kNames);
INSTANTIATE_TEST_SUITE_P(Attention, SimtMutant, testing::ValuesIn(attention_mutants()), kNames);

}  // namespace
}  // namespace tessera::simt_test
