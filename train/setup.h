// From a run's configuration to the objects that a step works on; shared by train, plan and bench.
#pragma once

#include "data/loader.h"
#include "train/config.h"
#include "train/step.h"

namespace tessera {

// The device that the run computes on; `auto` picks cuda where this build (with cuBLASLt) and
// machine have it.
Device run_device(const RunSection& run);
// Threads default to the cores of this machine.
ContextOptions context_options(const RunSection& run);
// Of a whole run. Throws Error where the device cannot compute what is asked for.
ContextOptions context_options(const RunConfig& config);
// The same on `meta`.
ContextOptions planning_options(const RunConfig& config);
ComputeOptions compute_options(const RunConfig& config);
AdamWOptions optimizer_options(const RunConfig& config);
StepOptions step_options(const RunConfig& config);
LoaderConfig loader_config(const RunConfig& config);

}  // namespace tessera
