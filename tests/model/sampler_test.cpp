#include "model/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "core/check.h"

namespace tessera {
namespace {

const std::vector<float> kLogits = {std::log(0.1f), std::log(0.5f), std::log(0.15f),
                                    std::log(0.25f)};

std::map<int64_t, double> shares(const SamplerOptions& options) {
  constexpr int kDraws = 20'000;
  std::map<int64_t, double> result;
  for (int i = 0; i < kDraws; ++i) result[sample(kLogits, options, i)] += 1.0 / kDraws;
  return result;
}

// Four standard deviations of a share p of 20,000 draws are below 4 * 0.5 / sqrt(20000) = 0.0142.
constexpr double kTolerance = 0.0142;

TEST(Sampler, DrawsByProbability) {
  const auto result = shares({});
  EXPECT_NEAR(result.at(0), 0.1, kTolerance);
  EXPECT_NEAR(result.at(1), 0.5, kTolerance);
  EXPECT_NEAR(result.at(2), 0.15, kTolerance);
  EXPECT_NEAR(result.at(3), 0.25, kTolerance);
}

TEST(Sampler, TemperatureSharpens) {
  const double sum = 0.01 + 0.25 + 0.0225 + 0.0625;  // squares: temperature 1/2
  EXPECT_NEAR(shares({.temperature = 0.5}).at(1), 0.25 / sum, kTolerance);
  EXPECT_EQ(shares({.temperature = 0}),
            (std::map<int64_t, double>{{1, shares({.temperature = 0}).at(1)}}));
}

TEST(Sampler, TopKKeepsTheLikeliest) {
  const auto result = shares({.top_k = 2});
  EXPECT_EQ(result.size(), 2u);
  EXPECT_NEAR(result.at(1), 0.5 / 0.75, kTolerance);
  EXPECT_EQ(result.count(3), 1u);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  EXPECT_EQ(shares({.top_p = 0.4}).size(), 1u);
  EXPECT_EQ(shares({.top_p = 0.6}).size(), 2u);
  EXPECT_EQ(shares({.top_p = 0.8}).size(), 3u);
}

TEST(Sampler, TiesGoToTheLowerId) {
  EXPECT_EQ(sample(std::vector<float>{1, 2, 2}, {.temperature = 0}, 0), 1);
}

TEST(Sampler, PassesOverNaNAndRefusesNothingElse) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(sample(std::vector<float>{nan, 0, nan}, {}, 0), 1);
  EXPECT_THROW(sample(std::vector<float>{nan, nan}, {}, 0), Error);
}

}  // namespace
}  // namespace tessera
