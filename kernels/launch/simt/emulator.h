// The SIMT emulator: runs CUDA kernels, compiled by the host's compiler, on the CPU. Every CUDA
// thread is a fiber; warps are scheduled at random from a seed; asynchronous operations take effect
// late; what hardware leaves undefined is an error with the kernel's file and line. What it checks:
// docs/architecture/simt.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/launch/gpu/grid.h"
#include "kernels/launch/simt/bank_conflicts.h"
#include "kernels/launch/simt/kernel.h"
#include "kernels/launch/simt/options.h"

namespace tessera::simt {

class Executor;

// Since the emulator was made.
struct Statistics {
  uint64_t launches = 0, blocks = 0, switches = 0, collectives = 0;
};

// One per context: ctx.state<simt::Emulator>(). Not for use by several threads at once.
class Emulator {
 public:
  // With the options of the environment variable TESSERA_SIMT.
  Emulator();
  explicit Emulator(const Options& options);
  ~Emulator();

  // May be changed between launches.
  Options& options() { return options_; }
  // Bank conflicts by "file:line" of the kernel, if options().bank: of ldmatrix and stmatrix, and
  // in race-instrumented kernels of ordinary loads and stores.
  std::map<std::string, BankCount> bank_conflicts() const;
  Statistics statistics() const;

  // Runs the kernel's blocks on up to `threads` OS threads (or options().workers). Throws Error:
  // the kernel's first error, or a grid that no device takes.
  void launch(const Kernel& kernel, const gpu::Grid& grid, int threads);

 private:
  void validate(const Kernel& kernel, const gpu::Grid& grid) const;
  bool race_checks() const;

  Options options_;
  uint64_t launches_ = 0;
  std::vector<std::unique_ptr<Executor>> executors_;
};

}  // namespace tessera::simt
