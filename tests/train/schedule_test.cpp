#include "train/schedule.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

double rate(ScheduleType type, int64_t step) {
  ScheduleConfig schedule{.type = type, .warmup_steps = 4, .decay_steps = 10, .min_lr_ratio = 0.2};
  return learning_rate(schedule, 2.0, step, 20);
}

TEST(Schedule, WarmsUpLinearlyFromTheFirstStepOn) {
  for (const auto type :
       {ScheduleType::constant, ScheduleType::cosine, ScheduleType::linear, ScheduleType::wsd}) {
    EXPECT_DOUBLE_EQ(rate(type, 0), 0.5);
    EXPECT_DOUBLE_EQ(rate(type, 2), 1.5);
    EXPECT_DOUBLE_EQ(rate(type, 3), 2.0);
    EXPECT_DOUBLE_EQ(rate(type, 4), 2.0);
  }
}

TEST(Schedule, ConstantStays) {
  EXPECT_DOUBLE_EQ(rate(ScheduleType::constant, 19), 2.0);
}

TEST(Schedule, CosineFallsToTheLowestRateAndStays) {
  EXPECT_DOUBLE_EQ(rate(ScheduleType::cosine, 9), 1.2);  // half-way: the mean of 2 and 0.4
  EXPECT_DOUBLE_EQ(rate(ScheduleType::cosine, 14), 0.4);
  EXPECT_DOUBLE_EQ(rate(ScheduleType::cosine, 19), 0.4);
}

TEST(Schedule, LinearFallsInAStraightLine) {
  EXPECT_DOUBLE_EQ(rate(ScheduleType::linear, 9), 1.2);
  EXPECT_DOUBLE_EQ(rate(ScheduleType::linear, 14), 0.4);
  EXPECT_DOUBLE_EQ(rate(ScheduleType::linear, 17), 0.4);
}

TEST(Schedule, WsdDecaysOverTheLastSteps) {
  EXPECT_DOUBLE_EQ(rate(ScheduleType::wsd, 10), 2.0);
  EXPECT_DOUBLE_EQ(rate(ScheduleType::wsd, 15), 1.2);
  EXPECT_DOUBLE_EQ(rate(ScheduleType::wsd, 19), 2.0 * (1 - 0.8 * 0.9));
}

}  // namespace
}  // namespace tessera
