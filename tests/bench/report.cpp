#include "tests/bench/report.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera::bench {

namespace {

nlohmann::ordered_json timing_of(const Row& row) {
  return {{"name", row.name},
          {"dtype", name_of(row.dtype)},
          {"ms", row.time.seconds * 1e3},
          {"p10_ms", row.time.fastest * 1e3},
          {"p90_ms", row.time.slowest * 1e3},
          {"calls", row.time.calls},
          {"windows", row.time.windows},
          {"windows_dropped", row.time.dropped}};
}

void print_columns(const char* rate) {
  fmt::print("{:<52} {:>10} {:>10} {:>10} {:>9}\n", "", "ms", "p10..p90", rate, "of peak");
}

// The unit of a table of FLOP/s.
double unit_of(const Peaks& peaks) {
  return std::max(peaks.f32, peaks.bf16) >= 1e13 ? 1e12 : 1e9;
}

const char* name_of_unit(double unit) {
  return unit == 1e12 ? "TFLOP/s" : "GFLOP/s";
}

// One line of the table; `rate` in units a second.
void print_row(const Row& row, double rate, double share) {
  fmt::print("{:<52} {:>10.3f} {:>10} {:>10.1f} {:>8.1f}%{}\n", row.name, row.time.seconds * 1e3,
             fmt::format("{:.1f}..{:.1f}", row.time.fastest * 1e3, row.time.slowest * 1e3), rate,
             share * 100, row.time.dropped == row.time.windows ? "  (noisy)" : "");
}

}  // namespace

void Report::heading(const Peaks& peaks, const std::string& text) const {
  if (json_) return;
  const double unit = unit_of(peaks);
  fmt::print("{}\npeak: {:.0f} {} f32, {:.0f} bf16\n", text, peaks.f32 / unit, name_of_unit(unit),
             peaks.bf16 / unit);
  print_columns(name_of_unit(unit));
}

void Report::row(const Row& row, const Peaks& peaks, const nlohmann::ordered_json& extra) const {
  const double rate = row.flops / row.time.seconds;
  const double share = peaks.of(row.dtype) > 0 ? rate / peaks.of(row.dtype) : 0;
  if (json_) {
    nlohmann::ordered_json record = timing_of(row);
    record.update({{"gflops", rate * 1e-9},
                   {"share_of_peak", share},
                   {"peak_f32_gflops", peaks.f32 * 1e-9},
                   {"peak_bf16_gflops", peaks.bf16 * 1e-9}});
    if (!extra.is_null()) record.update(extra);
    fmt::print("{}\n", record.dump());
  } else {
    print_row(row, rate / unit_of(peaks), share);
  }
  std::fflush(stdout);
}

void Report::skipped(const std::string& name, const std::string& reason) const {
  if (json_) {
    fmt::print("{}\n", nlohmann::ordered_json{{"name", name}, {"skipped", reason}}.dump());
  } else {
    fmt::print("{:<52} skipped: {}\n", name, reason);
  }
  std::fflush(stdout);
}

void Report::memory_heading(const Peaks& peaks, const std::string& text) const {
  if (json_) return;
  fmt::print("{}\npeak: {:.1f} GB/s, a copy of 128 MiB, read and written\n", text,
             peaks.copy * 1e-9);
  print_columns("GB/s");
}

void Report::memory_row(const Row& row, const Peaks& peaks) const {
  const double rate = row.bytes / row.time.seconds;
  if (json_) {
    nlohmann::ordered_json record = timing_of(row);
    record.update({{"gigabytes_per_second", rate * 1e-9},
                   {"share_of_copy", rate / peaks.copy},
                   {"copy_gigabytes_per_second", peaks.copy * 1e-9}});
    fmt::print("{}\n", record.dump());
  } else {
    print_row(row, rate * 1e-9, rate / peaks.copy);
  }
  std::fflush(stdout);
}

}  // namespace tessera::bench
