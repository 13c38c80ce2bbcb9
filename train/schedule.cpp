#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tessera {

double learning_rate(const ScheduleConfig& schedule, double peak, int64_t step, int64_t steps) {
  // The first step already learns: warmup reaches the peak at its last step.
  if (step < schedule.warmup_steps) return peak * double(step + 1) / double(schedule.warmup_steps);
  const int64_t decay_begin =
      schedule.type == ScheduleType::wsd ? steps - schedule.decay_steps : schedule.warmup_steps;
  const int64_t decay = std::max<int64_t>(1, schedule.decay_steps);
  const double progress = std::clamp(double(step - decay_begin) / double(decay), 0.0, 1.0);
  const double lowest = schedule.min_lr_ratio;
  switch (schedule.type) {
    case ScheduleType::constant:
      return peak;
    case ScheduleType::cosine:
      return peak * (lowest + (1 - lowest) * 0.5 * (1 + std::cos(std::numbers::pi * progress)));
    case ScheduleType::linear:
    case ScheduleType::wsd:
      return peak * (1 - (1 - lowest) * progress);
  }
  return peak;
}

}  // namespace tessera
