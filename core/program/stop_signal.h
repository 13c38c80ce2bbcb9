// SIGINT, SIGTERM and SIGHUP as a question that a long loop asks.
#pragma once

#include <csignal>

namespace tessera {

// While alive, SIGINT, SIGTERM and SIGHUP, unless ignored (nohup), wait until received() asks for
// them; after it saw the first, or some together, the next ends the process at once. Make it before
// any other thread: threads inherit the signal mask. There is no handler, because one would write
// its frame where the stack pointer points, and oneDNN's f32 products point it into their own
// buffers for a while.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // The signal that arrived, or 0.
  int received();

 private:
  sigset_t signals_, previous_;
  int received_ = 0;
};

}  // namespace tessera
