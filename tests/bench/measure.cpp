#include "tests/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/elementwise/kernel.h"
#include "kernels/launch/device_peak.h"

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

// Seconds of a call, as the mean of `calls` in a row.
double time_calls(Context& ctx, const std::function<void()>& body, int calls) {
  const auto begin = Clock::now();
  for (int i = 0; i < calls; ++i) body();
  ctx.synchronize();
  return seconds_since(begin) / calls;
}

// So many calls that they take kBatch seconds, on a device that is waited for; else 1.
int calls_in_a_row(Context& ctx, const std::function<void()>& body) {
  constexpr double kBatch = 0.01;
  if (ctx.device() != Device::cuda) return 1;
  return std::max(1, int(kBatch / time_calls(ctx, body, 3)));
}

}  // namespace

Stopwatch::Stopwatch(const ContextOptions& options, double seconds)
    : ctx_(options), seconds_(seconds) {
  for (int i = 0; i < 5; ++i) {
    speed_now();
    peaks_.bf16 = std::max(peaks_.bf16, device_peak_flops(ctx_, DType::bf16));
  }
}

const Peaks& Stopwatch::peaks_with_copy() {
  if (peaks_.copy > 0) return peaks_;
  constexpr int64_t kElements = int64_t{32} << 20;
  const Tensor from = ctx_.zeros({kElements}, DType::f32), to = ctx_.zeros({kElements}, DType::f32);
  const Measurement time = measure(ctx_, [&] { convert(ctx_, to, from); });
  peaks_.copy = double(from.bytes() + to.bytes()) / time.fastest;
  return peaks_;
}

double Stopwatch::speed_now() {
  if (ctx_.device() != Device::cpu && peaks_.f32 > 0) return 1;
  const double now = device_peak_flops(ctx_, DType::f32);
  peaks_.f32 = std::max(peaks_.f32, now);
  return peaks_.f32 > 0 ? now / peaks_.f32 : 1;
}

Measurement Stopwatch::measure(Context& ctx, const std::function<void()>& body) {
  time_calls(ctx, body, 1);
  const int in_a_row = calls_in_a_row(ctx, body);
  Measurement result;
  std::vector<double> clean, all;
  double clean_seconds = 0;
  const auto start = Clock::now();
  double before = speed_now();
  while (clean_seconds < seconds_ && (seconds_since(start) < 6 * seconds_ || all.empty())) {
    std::vector<double> calls;
    const auto window = Clock::now();
    do {
      calls.push_back(time_calls(ctx, body, in_a_row));
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
