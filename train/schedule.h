// The learning rate over the steps.
#pragma once

#include "train/config.h"

namespace tessera {

// The rate of step `step`, counted from 0, of `steps`; `peak` is optimizer.lr. See ScheduleConfig.
double learning_rate(const ScheduleConfig& schedule, double peak, int64_t step, int64_t steps);

}  // namespace tessera
