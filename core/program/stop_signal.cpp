#include "core/program/stop_signal.h"

#include <atomic>

namespace tessera {
namespace {

// A signal handler can reach nothing but static storage.
std::atomic<int> received_signal{0};

void remember(int signal) {
  received_signal = signal;
  std::signal(signal, SIG_DFL);
}

}  // namespace

StopSignal::StopSignal() {
  received_signal = 0;
  std::signal(SIGINT, remember);
  std::signal(SIGTERM, remember);
}

StopSignal::~StopSignal() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

int StopSignal::received() const { return received_signal; }

}  // namespace tessera
