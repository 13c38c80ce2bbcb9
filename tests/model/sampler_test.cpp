#include "model/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
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

// What top_p drops before it sorts may not change what it keeps: all of 1000 ids, sorted.
TEST(Sampler, TopPKeepsWhatSortingAllWouldKeep) {
  std::vector<float> logits;
  for (int i = 0; i < 1000; ++i) logits.push_back(3 * std::sin(float(i * i)));
  for (double top_p : {1e-9, 0.01, 0.5, 0.9, 0.999}) {
    std::vector<float> sorted = logits;
    std::ranges::sort(sorted, std::greater());
    double total = 0, kept = 0;
    for (float x : sorted) total += std::exp(double(x));
    size_t n = 0;
    while (kept < top_p * total) kept += std::exp(double(sorted[n++]));
    for (int i = 0; i < 3000; ++i) {
      const int64_t id = sample(logits, {.top_p = top_p}, i);
      EXPECT_GE(logits[size_t(id)], sorted[n - 1]) << top_p;
    }
    if (n == 1) continue;
    bool last_drawn = false;  // the least likely of few that are kept
    for (int i = 0; n < 20 && i < 3000 && !last_drawn; ++i)
      last_drawn = logits[size_t(sample(logits, {.top_p = top_p}, i))] == sorted[n - 1];
    EXPECT_EQ(last_drawn, n < 20) << top_p;
  }
}

TEST(Sampler, PassesOverNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(sample(std::vector<float>{nan, 0, nan}, {}, 0), 1);
  EXPECT_EQ(sample(std::vector<float>{nan, 0, nan}, {.temperature = 0}, 0), 1);
}

TEST(Sampler, NeedsAFiniteLogitAndNoneAbove) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = INFINITY;
  for (double temperature : {0.0, 1.0}) {
    const SamplerOptions options{.temperature = temperature};
    for (const std::vector<float>& logits :
         {std::vector<float>{nan, nan}, {0, infinity, 3}, {-infinity, -infinity}, {}})
      EXPECT_THROW(sample(logits, options, 0), Error);
    EXPECT_EQ(sample(std::vector<float>{-infinity, 1, -infinity}, options, 0), 1);
  }
}

}  // namespace
}  // namespace tessera
