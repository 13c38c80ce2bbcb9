#include "tests/bench/report.h"

#include <fmt/format.h>

namespace tessera::bench {

void Report::heading(const Peaks& peaks, const std::string& text) const {
  if (json_) return;
  fmt::print("{}\npeak measured in this run: {:.0f} GFLOP/s f32, {:.0f} bf16\n", text,
             peaks.f32 * 1e-9, peaks.bf16 * 1e-9);
  fmt::print("{:<52} {:>10} {:>10} {:>10} {:>9}\n", "", "ms", "p10..p90", "GFLOP/s", "of peak");
}

void Report::row(const Row& row, const Peaks& peaks, const nlohmann::ordered_json& extra) const {
  const double rate = row.flops / row.time.seconds, share = rate / peaks.of(row.dtype);
  if (json_) {
    nlohmann::ordered_json record = {{"name", row.name},
                                     {"dtype", name_of(row.dtype)},
                                     {"ms", row.time.seconds * 1e3},
                                     {"p10_ms", row.time.fastest * 1e3},
                                     {"p90_ms", row.time.slowest * 1e3},
                                     {"gflops", rate * 1e-9},
                                     {"share_of_peak", share},
                                     {"peak_f32_gflops", peaks.f32 * 1e-9},
                                     {"peak_bf16_gflops", peaks.bf16 * 1e-9},
                                     {"calls", row.time.calls},
                                     {"windows", row.time.windows},
                                     {"windows_dropped", row.time.dropped}};
    if (!extra.is_null()) record.update(extra);
    fmt::print("{}\n", record.dump());
  } else {
    fmt::print("{:<52} {:>10.3f} {:>10} {:>10.1f} {:>8.1f}%{}\n", row.name, row.time.seconds * 1e3,
               fmt::format("{:.1f}..{:.1f}", row.time.fastest * 1e3, row.time.slowest * 1e3),
               rate * 1e-9, share * 100, row.time.dropped == row.time.windows ? "  (noisy)" : "");
  }
  std::fflush(stdout);
}

}  // namespace tessera::bench
