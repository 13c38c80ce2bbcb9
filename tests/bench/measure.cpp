#include "tests/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/launch/cpu/peak.h"

namespace tessera::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

constexpr double kWindow = 0.3;  // seconds
constexpr double kCleanShare =
    0.93;  // of the best burst; a busy neighbour costs far more than that

double percentile(std::vector<double>& sorted, double share) {
  return sorted[std::min(sorted.size() - 1, size_t(share * double(sorted.size())))];
}

}  // namespace

Stopwatch::Stopwatch(Isa isa, int threads, double seconds)
    : isa_(isa), threads_(threads), seconds_(seconds) {
  for (int i = 0; i < 5; ++i) speed_now();
  for (int i = 0; i < 5; ++i) {
    peaks_.bf16 = std::max(peaks_.bf16, measure_peak_flops(isa_, threads_, DType::bf16));
  }
}

double Stopwatch::speed_now() {
  const double now = measure_peak_flops(isa_, threads_, DType::f32);
  peaks_.f32 = std::max(peaks_.f32, now);
  return now / peaks_.f32;
}

Measurement Stopwatch::measure(const std::function<void()>& body) {
  body();
  Measurement result;
  std::vector<double> clean, all;
  double clean_seconds = 0;
  const auto start = Clock::now();
  double before = speed_now();
  while (clean_seconds < seconds_ && (seconds_since(start) < 6 * seconds_ || all.empty())) {
    std::vector<double> calls;
    const auto window = Clock::now();
    do {
      const auto begin = Clock::now();
      body();
      calls.push_back(seconds_since(begin));
    } while (seconds_since(window) < kWindow);
    const double length = seconds_since(window);
    const double after = speed_now();
    ++result.windows;
    if (before >= kCleanShare && after >= kCleanShare) {
      clean.insert(clean.end(), calls.begin(), calls.end());
      clean_seconds += length;
    } else {
      ++result.dropped;
    }
    all.insert(all.end(), calls.begin(), calls.end());
    before = after;
  }
  std::vector<double>& used = clean.empty() ? all : clean;
  std::sort(used.begin(), used.end());
  result.seconds = percentile(used, 0.5);
  result.fastest = percentile(used, 0.1);
  result.slowest = percentile(used, 0.9);
  result.calls = int(used.size());
  return result;
}

}  // namespace tessera::bench
