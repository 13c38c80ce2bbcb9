#pragma once

#include <fmt/format.h>

#include <chrono>
#include <string>

namespace tessera {

// A line on standard error that is drawn over and over in its place, at most ten times a second;
// nothing where standard error is no terminal.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  template <class... Values>
  void show(fmt::format_string<Values...> format, Values&&... values) {
    if (due()) draw(fmt::format(format, std::forward<Values>(values)...));
  }
  // Takes the line away.
  void clear();
  // Seconds since the line was made.
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  bool due() const;
  void draw(const std::string& text);

  bool terminal_;
  Clock::time_point start_ = Clock::now(), drawn_{};
};

}  // namespace tessera
