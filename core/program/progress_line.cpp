#include "core/program/progress_line.h"

#include <unistd.h>

#include <cstdio>

namespace tessera {
namespace {

constexpr const char* kClear = "\r\033[K";  // to the line's begin; erase to its end

}  // namespace

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) != 0) {}

void ProgressLine::clear() {
  if (drawn_ != Clock::time_point{}) std::fputs(kClear, stderr);
  drawn_ = {};
}

double ProgressLine::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

bool ProgressLine::due() const {
  return terminal_ && Clock::now() - drawn_ >= std::chrono::milliseconds(100);
}

void ProgressLine::draw(const std::string& text) {
  drawn_ = Clock::now();
  std::fputs((kClear + text).c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace tessera
