#include "kernels/launch/cpu/peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {

double measure_peak_flops(Isa isa, int threads, DType dtype) {
  using Clock = std::chrono::steady_clock;
  constexpr int kBursts = 8;
  constexpr long kIterations = 400'000;
  const PeakCpu table = dispatch_isa(isa, []<Isa level>() { return peak_cpu<level>(); });
  const auto burst = dtype == DType::bf16 ? table.bf16 : table.f32;
  double best = 0;
  for (int i = 0; i < kBursts; ++i) {
    std::vector<double> flops(size_t(threads), 0.0);
    const auto begin = Clock::now();
    parallel_workers(threads, [&](int worker, int) { flops[size_t(worker)] = burst(kIterations); });
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    double total = 0;
    for (double f : flops) total += f;
    best = std::max(best, total / seconds);
  }
  return best;
}

}  // namespace tessera
