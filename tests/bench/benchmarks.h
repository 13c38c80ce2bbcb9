// The benchmarks of the program `bench`.
#pragma once

#include <string>
#include <vector>

#include "core/context.h"
#include "tests/bench/report.h"

namespace tessera::bench {

struct Settings {
  std::vector<DType> dtypes;
  ContextOptions context;
};

struct AttentionSettings {
  std::vector<int64_t> lengths = {512, 2048, 8192};
  std::vector<int64_t> head_dims = {64, 128};
  int64_t heads = 4, kv_heads = 4;
  std::vector<std::string> backends = {"flash", "standard"};
};

// Attention forward and backward, full and causal. Counted FLOPs: 4 heads S^2 D forward, 2.5 times
// that backward, causal half.
void bench_attention(const Settings& settings, const AttentionSettings& attention, Stopwatch& watch,
                     const Report& report);

// y = x W^T, dx and dW of the linear layers of the step's shapes.
void bench_linear(const Settings& settings, const std::vector<std::string>& shapes,
                  Stopwatch& watch, const Report& report);

// The kernels that move data rather than compute, on tensors far larger than caches.
void bench_memory(const Settings& settings, Stopwatch& watch, const Report& report);

// Whole training steps of the shapes a, b, c and 1b; with `kernels`, where the time goes.
void bench_step(const Settings& settings, const std::vector<std::string>& shapes, bool kernels,
                Stopwatch& watch, const Report& report);

}  // namespace tessera::bench
