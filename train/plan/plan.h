// A dry run: the training step on `meta`.
#pragma once

#include "train/config.h"
#include "train/plan/cost_table.h"

namespace tessera {

struct Plan {
  int64_t parameters = 0;
  double flops_per_token = 0;  // by the formula of model/flops.h
  int64_t tokens_per_step = 0;
  int64_t peak_bytes = 0;
  BytesByTag at_peak{};      // what the peak consists of
  BytesByTag peak_by_tag{};  // the largest value of each tag, at whatever moment
  CostTable step;            // kernel calls of one step
};

// What a run of this configuration allocates, to the byte, and what its step costs. Needs no data
// files. Exact for this machine's instruction set and the configured number of threads (kernels'
// workspace depends on both).
Plan make_plan(const RunConfig& config);

}  // namespace tessera
