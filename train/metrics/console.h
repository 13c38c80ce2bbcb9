// What a person sees of a run: a live line on a terminal, one line a logged step otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "train/metrics/record.h"

namespace tessera {

// Goes on where standard output cannot be written to: a run must not end because nobody looks.
class Console {
 public:
  explicit Console(int64_t total_steps);
  // Ends a live line.
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  // A line that stays.
  void say(const std::string& line);
  // A problem that the run survives.
  void warn(const std::string& line);
  // `logged` steps stay on the screen; the others are shown on a terminal only, each in place of
  // the last, at most ten times a second.
  void step(const StepRecord& record, bool logged);
  void evaluation(const EvaluationRecord& record);

 private:
  using Clock = std::chrono::steady_clock;

  void clear_live_line();
  void draw(const std::string& line);

  int64_t total_steps_;
  bool terminal_;
  bool live_ = false;
  Clock::time_point drawn_{};
  double smoothed_ms_ = 0;
};

// What of an ASCII line fits into a terminal of so many columns without the cursor going on to the
// next one; all of it for 0.
std::string fit_columns(const std::string& line, size_t columns);
// "1m02s", "3h05m", "2d04h".
std::string format_duration(double seconds);
// "512 B", "94.2 MiB", "1.31 GiB".
std::string format_bytes(double bytes);
// "812", "34.5k", "1.2M".
std::string format_count(double count);

}  // namespace tessera
