// RMSNorm: one block for each row.
#include "kernels/launch/gpu/device.h"
#include "tests/kernels/launch/simt/mutants/mutants.h"
#include "tests/kernels/launch/simt/mutants/problems.h"
#include "tests/kernels/launch/simt/run_kernel.h"

namespace tessera::simt_test {
namespace {

using namespace gpu;  // NOLINT
using Bug = RmsNormBug;

constexpr int kThreads = 128, kWarps = kThreads / kWarpSize;

__device__ float sum_of_warp(float v) {
  for (int mask = 16; mask > 0; mask /= 2) v += shuffle_xor(v, mask);
  return v;
}

__global__ void rms_norm_kernel(const bf16* x, const bf16* weight, bf16* y, float* rstd,
                                int columns, float eps, Bug bug) {
  float* partial = shared_array<float, kWarps + 1>();
  const int64_t row = block_index().x, t = thread_index().x;
  float sum = 0;
  for (int64_t i = t; i < columns; i += kThreads) {
    const float v = to_float(x[row * columns + i]);
    sum += v * v;
  }
  sum = sum_of_warp(sum);
  if (lane() == 0) partial[warp() + (bug == Bug::shared_out_of_range ? 2 : 0)] = sum;
  if (bug != Bug::no_barrier_before_partial_sums) sync_block();
  if (warp() == 0) {
    const float total = sum_of_warp(lane() < kWarps ? partial[lane()] : 0.0f);
    if (lane() == 0) partial[kWarps] = rsqrt_approx(total / float(columns) + eps);
  }
  if (bug != Bug::no_barrier_before_result) sync_block();
  const float r = partial[kWarps];
  if (t == 0) rstd[row] = r;
  for (int64_t i = t; i < columns; i += kThreads) {
    y[row * columns + i] =
        from_float<bf16>(to_float(x[row * columns + i]) * r * to_float(weight[i]));
  }
}

}  // namespace

std::string run_rms_norm(const simt::Options& options, RmsNormBug bug) {
  RmsNormProblem p(6, 200, options.seed);
  const std::string error =
      error_of(options, rms_norm_kernel, {.x = unsigned(p.rows), .threads = kThreads}, p.x.data(),
               p.weight.data(), p.y.data(), p.rstd.data(), p.columns, RmsNormProblem::kEps, bug);
  return error.empty() ? p.verdict() : error;
}

}  // namespace tessera::simt_test
