#include "kernels/rope/table.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/transfer.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

void check_config(const RopeConfig& c, int64_t positions, int64_t head_dim) {
  check(head_dim > 0 && head_dim % 2 == 0, "rope: head_dim {} is not even", head_dim);
  check(positions > 0, "rope: a table of {} positions; at least 1 is needed", positions);
  check(c.theta > 1, "rope: theta {} must be above 1", c.theta);
  check(c.factor >= 1, "rope: factor {} must be at least 1", c.factor);
  const bool needs_length = c.scaling == RopeScaling::yarn || c.scaling == RopeScaling::llama3;
  check(!needs_length || c.original_length > 0,
        "rope: original_length {}; set it to the context length before scaling", c.original_length);
  check(c.scaling != RopeScaling::ntk || head_dim > 2, "rope: ntk scaling needs head_dim above 2");
  check(c.scaling != RopeScaling::yarn || (c.beta_slow > 0 && c.beta_fast > c.beta_slow),
        "rope: beta_fast {} must be above beta_slow {}, and both above 0", c.beta_fast,
        c.beta_slow);
  check(c.scaling != RopeScaling::llama3 || c.high_freq_factor > c.low_freq_factor,
        "rope: high_freq_factor {} must be above low_freq_factor {}", c.high_freq_factor,
        c.low_freq_factor);
}

// The pair (a real number) whose wavelength fits `turns` times into original_length: solves
// original_length * theta^(-2 j / D) = 2 pi turns for j.
double pair_of_turns(const RopeConfig& c, double turns, int64_t head_dim) {
  const double length = double(c.original_length);
  return double(head_dim) * std::log(length / (kTwoPi * turns)) / (2 * std::log(c.theta));
}

// YaRN, section 3.2 ("NTK-by-parts"): pairs that turn often keep their frequency, pairs that turn
// less than beta_slow times are interpolated, a linear ramp over the pair's index between. The
// ramp's ends are rounded outwards to pairs, as published checkpoints were trained.
void scale_yarn(const RopeConfig& c, int64_t head_dim, std::vector<double>& frequencies) {
  const double begin = std::max(0.0, std::floor(pair_of_turns(c, c.beta_fast, head_dim)));
  const double end =
      std::min(double(head_dim - 1), std::ceil(pair_of_turns(c, c.beta_slow, head_dim)));
  const double length = end > begin ? end - begin : 0.001;
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const double ramp = std::clamp((double(j) - begin) / length, 0.0, 1.0);
    frequencies[j] *= 1 + ramp * (1 / c.factor - 1);
  }
}

// Llama 3.1: the ramp is linear in the number of turns over original_length.
void scale_llama3(const RopeConfig& c, std::vector<double>& frequencies) {
  for (double& frequency : frequencies) {
    const double turns = double(c.original_length) * frequency / kTwoPi;
    const double keep = std::clamp(
        (turns - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor), 0.0, 1.0);
    frequency *= keep + (1 - keep) / c.factor;
  }
}

// Radians a position, [D/2].
std::vector<double> frequencies_of(const RopeConfig& c, int64_t head_dim) {
  const double dim = double(head_dim);
  double theta = c.theta;
  if (c.scaling == RopeScaling::ntk) theta *= std::pow(c.factor, dim / (dim - 2));
  std::vector<double> frequencies(size_t(head_dim / 2));
  for (size_t j = 0; j < frequencies.size(); ++j)
    frequencies[j] = std::pow(theta, -2 * double(j) / dim);
  if (c.scaling == RopeScaling::linear)
    for (double& frequency : frequencies) frequency /= c.factor;
  if (c.scaling == RopeScaling::yarn) scale_yarn(c, head_dim, frequencies);
  if (c.scaling == RopeScaling::llama3) scale_llama3(c, frequencies);
  return frequencies;
}

// What cos and sin are multiplied with: YaRN, section 3.3, counters the higher entropy of attention
// over more keys.
double amplitude_of(const RopeConfig& c) {
  if (c.scaling != RopeScaling::yarn) return 1;
  return c.attention_factor > 0 ? c.attention_factor : 0.1 * std::log(c.factor) + 1;
}

template <class T>
void fill(Context& ctx, const RopeTable& table, const std::vector<double>& frequencies,
          double amplitude) {
  const int64_t half = int64_t(frequencies.size());
  std::vector<T> cos(size_t(table.cos.elements())), sin(cos.size());
  parallel_for(ctx.threads(), table.cos.shape(0), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * half; i < end * half; ++i) {
      const int64_t position = i / half;
      const double angle = double(position) * frequencies[size_t(i % half)];
      cos[size_t(i)] = T(amplitude * std::cos(angle));
      sin[size_t(i)] = T(amplitude * std::sin(angle));
    }
  });
  upload(table.cos, cos.data());
  upload(table.sin, sin.data());
}

}  // namespace

RopeTable rope_table(Context& ctx, const RopeConfig& config, int64_t positions, int64_t head_dim,
                     DType dtype) {
  check_config(config, positions, head_dim);
  check(dtype == DType::f32 || dtype == DType::f64, "rope: a table of dtype {}; use f32 or f64",
        dtype);
  const Shape shape{positions, head_dim / 2};
  const RopeTable table{.cos = ctx.empty(shape, dtype, MemoryTag::data),
                        .sin = ctx.empty(shape, dtype, MemoryTag::data)};
  if (ctx.is_meta()) return table;
  const std::vector<double> frequencies = frequencies_of(config, head_dim);
  if (dtype == DType::f32) {
    fill<float>(ctx, table, frequencies, amplitude_of(config));
  } else {
    fill<double>(ctx, table, frequencies, amplitude_of(config));
  }
  return table;
}

}  // namespace tessera
