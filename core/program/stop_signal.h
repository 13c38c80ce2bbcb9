// SIGINT, SIGTERM and SIGHUP as a question that a long loop asks.
#pragma once

#include <csignal>

namespace tessera {

// While alive, the first of these signals is remembered and a second one ends the process at once.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // The signal that arrived, or 0.
  int received() const;
};

}  // namespace tessera
