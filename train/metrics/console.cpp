#include "train/metrics/console.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>

namespace tessera {
namespace {

// Past stdio, so that no failure is thrown or kept where standard output is gone (a closed
// terminal, a dead tee) or its disk is full.
void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno != EINTR) return;
    if (n > 0) text.remove_prefix(size_t(n));
  }
}

// Of the terminal that is standard output; 0 where it does not tell.
size_t terminal_columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace

Console::Console(int64_t total_steps)
    : total_steps_(total_steps), terminal_(isatty(STDOUT_FILENO) != 0) {}

Console::~Console() {
  if (live_) put("\n");
}

void Console::clear_live_line() {
  if (live_) put("\r\033[K");
  live_ = false;
}

void Console::say(const std::string& line) {
  clear_live_line();
  put(line + '\n');
}

void Console::warn(const std::string& line) {
  clear_live_line();
  put(fmt::format("{}warning: {}{}\n", terminal_ ? "\033[33m" : "", line,
                  terminal_ ? "\033[0m" : ""));
}

void Console::draw(const std::string& line) {
  clear_live_line();
  put(fit_columns(line, terminal_columns()));
  live_ = true;
  drawn_ = Clock::now();
}

void Console::step(const StepRecord& r, bool logged) {
  // An exponential mean over about 20 steps, so that the remaining time does not jump.
  smoothed_ms_ = smoothed_ms_ == 0 ? r.step_ms : 0.95 * smoothed_ms_ + 0.05 * r.step_ms;
  const bool drawn = terminal_ && Clock::now() - drawn_ >= std::chrono::milliseconds(100);
  if (!logged && !drawn) return;
  const double remaining = double(total_steps_ - r.step) * smoothed_ms_ * 1e-3;
  const int width = int(std::to_string(total_steps_).size());
  const std::string line = fmt::format(
      "step {:>{}}/{} | loss {:.4f} | grad {:.3f} | lr {:.2e} | {:>6} tok/s | MFU {:4.1f}% | mem "
      "{} | ETA {}",
      r.step, width, total_steps_, r.loss, r.grad_norm, r.lr, format_count(r.tokens_per_second),
      100 * r.model_flops_utilization, format_bytes(double(r.peak_bytes)),
      format_duration(remaining));
  if (logged) {
    say(line);
  } else {
    draw(line);
  }
}

void Console::evaluation(const EvaluationRecord& r) {
  say(fmt::format("step {} | validation loss {:.4f} | perplexity {:.2f} | {}", r.step, r.loss,
                  std::exp(r.loss), format_duration(r.seconds)));
}

std::string fit_columns(const std::string& line, size_t columns) {
  return columns > 0 ? line.substr(0, columns - 1) : line;
}

std::string format_duration(double seconds) {
  const int64_t s = int64_t(std::llround(std::max(0.0, seconds)));
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  return fmt::format("{}d{:02}h", s / 86400, s / 3600 % 24);
}

std::string format_bytes(double bytes) {
  if (bytes < 1024) return fmt::format("{:.0f} B", bytes);
  for (const char* unit : {"KiB", "MiB"}) {
    bytes /= 1024;
    if (bytes < 1024) return fmt::format("{:.1f} {}", bytes, unit);
  }
  return fmt::format("{:.2f} GiB", bytes / 1024);
}

std::string format_count(double count) {
  if (count < 1e3) return fmt::format("{:.0f}", count);
  if (count < 1e6) return fmt::format("{:.1f}k", count / 1e3);
  if (count < 1e9) return fmt::format("{:.2f}M", count / 1e6);
  return fmt::format("{:.2f}B", count / 1e9);
}

}  // namespace tessera
