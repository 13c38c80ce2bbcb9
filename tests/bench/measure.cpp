#include "tests/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <utility>
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

// Seconds of calls, in one function's windows.
struct Stopwatch::Samples {
  std::vector<double> clean, all, medians;
  double clean_seconds = 0;
  int windows = 0, dropped = 0;

  Measurement summary() {
    std::vector<double>& used = clean.empty() ? all : clean;
    std::sort(used.begin(), used.end());
    return {.seconds = percentile(used, 0.5),
            .fastest = percentile(used, 0.1),
            .slowest = percentile(used, 0.9),
            .calls = int(used.size()),
            .windows = windows,
            .dropped = dropped,
            .medians = std::move(medians)};
  }
};

void Stopwatch::take_window(const Timed& timed, int calls_in_a_row, Samples& samples) {
  std::vector<double> calls;
  const auto begin = Clock::now();
  do {
    calls.push_back(time_calls(timed.ctx, timed.body, calls_in_a_row));
  } while (seconds_since(begin) < kWindow);
  const double length = seconds_since(begin);
  const double before = std::exchange(speed_before_, speed_now());
  ++samples.windows;
  samples.all.insert(samples.all.end(), calls.begin(), calls.end());
  if (before >= kCleanShare && speed_before_ >= kCleanShare) {
    samples.clean.insert(samples.clean.end(), calls.begin(), calls.end());
    samples.clean_seconds += length;
  } else {
    ++samples.dropped;
  }
  std::sort(calls.begin(), calls.end());
  samples.medians.push_back(percentile(calls, 0.5));
}

std::vector<Measurement> Stopwatch::measure_in_turn(const std::vector<Timed>& bodies) {
  std::vector<int> in_a_row;
  for (const Timed& timed : bodies) {
    time_calls(timed.ctx, timed.body, 1);
    in_a_row.push_back(calls_in_a_row(timed.ctx, timed.body));
  }
  std::vector<Samples> samples(bodies.size());
  const auto enough = [&](const Samples& s) { return s.clean_seconds >= seconds_; };
  const double limit = 6 * seconds_ * double(bodies.size());
  const auto start = Clock::now();
  speed_before_ = speed_now();
  do {
    for (size_t i = 0; i < bodies.size(); ++i) take_window(bodies[i], in_a_row[i], samples[i]);
  } while (!std::all_of(samples.begin(), samples.end(), enough) && seconds_since(start) < limit);
  std::vector<Measurement> results;
  for (Samples& s : samples) results.push_back(s.summary());
  return results;
}

Measurement Stopwatch::measure(Context& ctx, const std::function<void()>& body) {
  return measure_in_turn({{ctx, body}}).front();
}

double time_ratio(const Measurement& slow, const Measurement& fast) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(slow.medians.size(), fast.medians.size()); ++i)
    ratios.push_back(slow.medians[i] / fast.medians[i]);
  std::sort(ratios.begin(), ratios.end());
  return percentile(ratios, 0.5);
}

}  // namespace tessera::bench
