#include "tests/support/reference_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/check.h"

namespace tessera::reference {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

// Index of the pair that makes `turns` full turns over `length` positions.
double pair_of_turns(double turns, const RopeSpec& s, int64_t head_dim) {
  return double(head_dim) * std::log(s.original_length / (turns * kTwoPi)) /
         (2 * std::log(s.theta));
}

// Pairs up to beta_fast's keep their frequency, pairs from beta_slow's are divided by factor.
void scale_yarn(const RopeSpec& s, int64_t head_dim, Vec& frequencies) {
  const double low = std::max(0.0, std::floor(pair_of_turns(s.beta_fast, s, head_dim)));
  double high = std::min(double(head_dim - 1), std::ceil(pair_of_turns(s.beta_slow, s, head_dim)));
  if (high == low) high += 0.001;
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const double interpolated = std::clamp((double(j) - low) / (high - low), 0.0, 1.0);
    frequencies[j] *= (1 - interpolated) + interpolated / s.factor;
  }
}

// Turns over original_length at or under low_freq_factor: divided by factor; from high_freq_factor
// on: kept.
void scale_llama3(const RopeSpec& s, Vec& frequencies) {
  for (double& frequency : frequencies) {
    const double turns = s.original_length * frequency / kTwoPi;
    const double kept = std::clamp(
        (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor), 0.0, 1.0);
    frequency *= kept + (1 - kept) / s.factor;
  }
}

// Rotates every pair by direction * position * frequency.
Vec rotate(const RopeSpec& spec, const Vec& x, const std::vector<int32_t>& positions,
           int64_t head_dim, int direction) {
  const int64_t row = int64_t(x.size() / positions.size()), half = head_dim / 2;
  check(row % head_dim == 0, "rope: {} values a position, head_dim {}", row, head_dim);
  const RopeFrequencies f = rope_frequencies(spec, head_dim);
  Vec y(x.size());
  for (size_t n = 0; n < positions.size(); ++n)
    for (int64_t head = n * row; head < int64_t(n + 1) * row; head += head_dim)
      for (int64_t j = 0; j < half; ++j) {
        const double angle = positions[n] * f.radians_per_position[j];
        const double c = f.amplitude * std::cos(angle);
        const double s = f.amplitude * std::sin(angle) * direction;
        const double a = x[head + j], b = x[head + half + j];
        y[head + j] = a * c - b * s;
        y[head + half + j] = b * c + a * s;
      }
  return y;
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeSpec& s, int64_t head_dim) {
  check(head_dim % 2 == 0, "rope: head_dim {} is odd", head_dim);
  const double d = double(head_dim);
  const double theta =
      s.scaling == RopeScaling::ntk ? s.theta * std::pow(s.factor, d / (d - 2)) : s.theta;
  RopeFrequencies f{.radians_per_position = {}, .amplitude = 1};
  for (int64_t j = 0; j < head_dim / 2; ++j)
    f.radians_per_position.push_back(std::pow(theta, -2.0 * double(j) / d));
  if (s.scaling == RopeScaling::linear)
    for (double& frequency : f.radians_per_position) frequency /= s.factor;
  if (s.scaling == RopeScaling::llama3) scale_llama3(s, f.radians_per_position);
  if (s.scaling == RopeScaling::yarn) {
    scale_yarn(s, head_dim, f.radians_per_position);
    f.amplitude = s.attention_factor > 0 ? s.attention_factor : 0.1 * std::log(s.factor) + 1;
  }
  return f;
}

Vec rope_forward(const RopeSpec& spec, const Vec& x, const std::vector<int32_t>& positions,
                 int64_t head_dim) {
  return rotate(spec, x, positions, head_dim, +1);
}

Vec rope_backward(const RopeSpec& spec, const Vec& dy, const std::vector<int32_t>& positions,
                  int64_t head_dim) {
  return rotate(spec, dy, positions, head_dim, -1);
}

}  // namespace tessera::reference
