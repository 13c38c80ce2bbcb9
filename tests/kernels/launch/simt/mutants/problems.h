// The problems that the mutants' kernels solve, with their checks against double precision.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace tessera::simt_test {

// Random bf16 values, normally distributed.
std::vector<bf16> random_bf16(size_t n, uint64_t seed);

// y = x rstd weight, rstd = 1 / sqrt(mean(x^2) + eps); x [rows, columns].
struct RmsNormProblem {
  RmsNormProblem(int rows, int columns, uint64_t seed);
  std::string verdict() const;  // "" if y and rstd are right

  static constexpr float kEps = 1e-5f;
  int rows, columns;
  std::vector<bf16> x, weight, y;
  std::vector<float> rstd;
};

// Attention with 64 columns a head: q, k, v, o [sequence, heads, 64], lse [heads, sequence].
struct AttentionProblem {
  AttentionProblem(int sequence, int heads, bool causal, uint64_t seed);
  std::string verdict() const;

  static constexpr int kColumns = 64;
  static constexpr float kScale = 0.125f;
  int sequence, heads;
  bool causal;
  std::vector<bf16> q, k, v, o;  // o has more rows, which must not be written
  std::vector<float> lse;
};

// c [m, n] = a [m, k] b [n, k]^T, as bf16 or added to f32.
struct GemmProblem {
  GemmProblem(int m, int n, int k, uint64_t seed);
  std::string verdict(bool f32) const;

  int m, n, k;
  std::vector<bf16> a, b, c;
  std::vector<float> sum;
};

}  // namespace tessera::simt_test
