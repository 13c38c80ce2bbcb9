// Timing on a shared machine: many short windows, each between two bursts that tell whether the
// machine ran at full speed; windows where it did not are dropped.
#pragma once

#include <functional>

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera::bench {

// FLOP/s of this machine on the threads in use, the best seen so far in this process.
struct Peaks {
  double f32 = 0, bf16 = 0;
  double of(DType dtype) const { return dtype == DType::bf16 ? bf16 : f32; }
};

struct Measurement {
  double seconds = 0;               // median time of a call over the clean windows
  double fastest = 0, slowest = 0;  // of those calls: 10th and 90th percentile
  int calls = 0;
  int windows = 0, dropped = 0;
};

class Stopwatch {
 public:
  // `seconds`: how long to measure each function, in clean windows.
  Stopwatch(Isa isa, int threads, double seconds);

  const Peaks& peaks() const { return peaks_; }
  // Calls `body` once to warm up, then times it until enough clean windows have passed; gives up on
  // cleanliness (all windows count, `dropped` says how many were not clean) after six times that
  // long.
  Measurement measure(const std::function<void()>& body);

 private:
  // The f32 burst now, as a share of the best one.
  double speed_now();

  Isa isa_;
  int threads_;
  double seconds_;
  Peaks peaks_;
};

}  // namespace tessera::bench
