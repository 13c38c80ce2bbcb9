// What is reported of a training step and of an evaluation.
#pragma once

#include <cstdint>

#include "core/memory/ledger.h"

namespace tessera {

struct StepRecord {
  int64_t step = 0, tokens = 0;  // so far, this step included
  double loss = 0, grad_norm = 0, lr = 0;
  double step_ms = 0;
  double tokens_per_second = 0;
  double model_flops_utilization = 0;  // share of the peak; see model/flops.h. 0: no peak is known
  int64_t peak_bytes = 0;              // of the ledger, since the run began
  BytesByTag peak_by_tag{};
};

struct EvaluationRecord {
  int64_t step = 0, tokens = 0;
  double loss = 0;  // mean over the validation targets, without z-loss
  double seconds = 0;
};

}  // namespace tessera
