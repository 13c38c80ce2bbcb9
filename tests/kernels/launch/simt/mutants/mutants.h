// Small kernels, each with bugs to choose from: what the emulator must find.
#pragma once

#include <string>

#include "kernels/launch/simt/options.h"

namespace tessera::simt_test {

enum class RmsNormBug {
  none,
  no_barrier_before_partial_sums,
  no_barrier_before_result,
  shared_out_of_range
};
enum class FlashBug {
  none,
  no_barrier_after_copies,
  wrong_swizzle,
  no_barrier_before_reuse,
  causal_off_by_one,
  fragments_swapped,
  no_row_guard,
  no_column_mask,
  waits_for_too_few_copies,
  odd_lanes_shuffle,
  never_committed,
  misaligned_rows,
  too_little_shared_memory,
};
enum class GemmBug {
  none,
  no_barrier_after_init,
  wrong_swizzle_mode,
  producer_parity,
  consumer_parity,
  wrong_stride,
  no_expected_bytes,
  too_few_expected_bytes,
  early_release,
  no_proxy_fence,
  no_wgmma_fence,
  released_one_stage_early,
  no_barrier_before_epilogue,
  too_many_arrivals,
  no_wait_for_store,
  transposed_coordinates,
  one_thread_waits_for_tiles,
  no_wait_at_exit,
};
enum class HopperAttentionBug {
  none,
  value_major,
  causal_off_by_one,
  value_step,
  read_before_wait,
  fragments_swapped,
  no_expected_bytes,
  no_proxy_fence,
  no_barrier_before_store,
  value_parity,
  first_turn_missing,
  too_many_registers,
  divergent_shuffle,
  no_elect,
  operand_overwritten,
  too_little_shared_memory,
  coordinates_swapped,
  weak_alignment,
  barrier_count,
};

// "" if the kernel had no error and its result is right, else what is wrong.
std::string run_rms_norm(const simt::Options& options, RmsNormBug bug);
std::string run_flash(const simt::Options& options, FlashBug bug);
std::string run_gemm(const simt::Options& options, GemmBug bug);
std::string run_hopper_attention(const simt::Options& options, HopperAttentionBug bug);

}  // namespace tessera::simt_test
