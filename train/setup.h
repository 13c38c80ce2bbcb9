// From a run's configuration to the objects that a step works on; shared by train, plan and bench.
#pragma once

#include "data/loader.h"
#include "train/config.h"
#include "train/step.h"

namespace tessera {

// `device`: cpu to run, meta to plan. Threads default to the cores of this machine.
ContextOptions context_options(const RunConfig& config, Device device);
ComputeOptions compute_options(const RunConfig& config);
AdamWOptions optimizer_options(const RunConfig& config);
StepOptions step_options(const RunConfig& config);
LoaderConfig loader_config(const RunConfig& config);

}  // namespace tessera
