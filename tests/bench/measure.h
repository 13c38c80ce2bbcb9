// Timing on a shared machine: many short windows, on the CPU each between two bursts that tell
// whether the machine ran at full speed; windows where it did not are dropped.
#pragma once

#include <functional>
#include <vector>

#include "core/context.h"

namespace tessera::bench {

// What the device can do at most: FLOP/s, on the CPU the best seen so far in this process; and
// bytes/s of a large copy, read and written both counted.
struct Peaks {
  double f32 = 0, bf16 = 0, copy = 0;
  double of(DType dtype) const { return dtype == DType::bf16 ? bf16 : f32; }
};

struct Measurement {
  double seconds = 0;               // median time of a call over the clean windows
  double fastest = 0, slowest = 0;  // of those calls: 10th and 90th percentile
  int calls = 0;
  int windows = 0, dropped = 0;
  std::vector<double> medians;  // of each window, dropped or not
};

// Something to time: `body` works on ctx.
struct Timed {
  Context& ctx;
  std::function<void()> body;
};

// How many times as long a call of `slow` takes as one of `fast`: the median over the pairs of
// windows that measure_in_turn() took one after the other, so that the machine's moods cancel.
double time_ratio(const Measurement& slow, const Measurement& fast);

class Stopwatch {
 public:
  // `seconds`: how long to measure each function, in clean windows.
  Stopwatch(const ContextOptions& options, double seconds);

  // Of the device, `copy` not yet measured.
  const Peaks& peaks() const { return peaks_; }
  // Copies 256 MiB to find out, the first time.
  const Peaks& peaks_with_copy();

  // Calls `body`, which works on ctx, once to warm up, then times it until enough clean windows
  // have passed; gives up on cleanliness (all windows count, `dropped` says how many were not
  // clean) after six times that long. On `cuda` a time is the mean of so many calls in a row that
  // waiting for the device does not matter.
  Measurement measure(Context& ctx, const std::function<void()>& body);
  // The same for several, a window of each in turn until all have enough.
  std::vector<Measurement> measure_in_turn(const std::vector<Timed>& bodies);

 private:
  struct Samples;
  void take_window(const Timed& timed, int calls_in_a_row, Samples& samples);
  // The f32 burst now, as a share of the best one; 1 where the machine is not shared.
  double speed_now();

  Context ctx_;  // for the peaks alone
  double seconds_;
  double speed_before_ = 0;  // at the end of the last window
  Peaks peaks_;
};

}  // namespace tessera::bench
