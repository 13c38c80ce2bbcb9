// What the SIMD layer computes, per instruction-set level, as functions over arrays.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera::test {

enum class SimdFunction { exp2, exp, log, sigmoid, tanh };

struct SimdFunctions {
  // y[i] = function(x[i]), i < n
  void (*map_f32)(SimdFunction function, const float* x, float* y, int64_t n);
  void (*map_f64)(SimdFunction function, const double* x, double* y, int64_t n);
  // Through whole vectors where they fit, and the rest through first lanes.
  void (*to_bf16)(const float* x, bf16* y, int64_t n);
  void (*from_bf16)(const bf16* x, float* y, int64_t n);
  void (*to_f16)(const float* x, f16* y, int64_t n);
  void (*from_f16)(const f16* x, float* y, int64_t n);
  // Of one vector; `lanes` values are read.
  int lanes_f32, lanes_f64;
  float (*add_f32)(const float* x);
  float (*max_f32)(const float* x);
  double (*add_f64)(const double* x);
  double (*max_f64)(const double* x);
};

template <Isa isa>
SimdFunctions simd_functions();

}  // namespace tessera::test
