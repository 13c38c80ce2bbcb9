#include "core/program/stop_signal.h"

#include <ctime>
#include <initializer_list>

namespace tessera {

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now {};
    sigaction(signal, nullptr, &now);
    // Once blocked, an ignored one would wait here too: nohup's hangup would end the run.
    if (now.sa_handler != SIG_IGN) sigaddset(&signals_, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
}

StopSignal::~StopSignal() {
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

int StopSignal::received() {
  if (received_ == 0) {
    const timespec at_once{};
    const int signal = sigtimedwait(&signals_, nullptr, &at_once);
    if (signal > 0) {
      received_ = signal;
      // What came together with it is the same wish to stop, not the second that ends the process.
      while (sigtimedwait(&signals_, nullptr, &at_once) > 0) {
      }
      pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
    }
  }
  return received_;
}

}  // namespace tessera
