// The shapes that steps are timed at; the same as in compare_pytorch.py.
#pragma once

#include <string>

#include "model/config.h"

namespace tessera::bench {

struct StepShape {
  ModelConfig model;
  int64_t batch;  // sequences
};

// "a": 0.8M parameters at context 64, "b": 8.3M at 256, "c": 33.7M at 1024; untied, no grouped
// queries. "1b": Llama 3.2 1B at 4096, for GPUs. Throws Error for another name.
StepShape step_shape(const std::string& name);

}  // namespace tessera::bench
