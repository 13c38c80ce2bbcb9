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

// What is empty or 0 depends on the device. On `cuda`: S of 512 to 131072, D of 64, 128 and 256,
// 2048 / D heads, as many sequences as make 16384 tokens, every backend; else S of 512, 2048 and
// 8192, D of 64 and 128, 4 heads, one sequence, flash and standard.
struct AttentionSettings {
  std::vector<int64_t> lengths, head_dims;
  int64_t heads = 0, kv_heads = 0;
  int64_t tokens = 0;  // of the sequences together, at least one
  // flash, standard; flash-atomics (deterministic = false) and cudnn (its fastest) on cuda
  std::vector<std::string> backends;
};

// Attention forward and backward, full and causal, and flash in proportion to the other backends,
// in time and memory. Counted FLOPs: 4 heads S^2 D a sequence forward, 2.5 times that backward,
// causal half. A backend that refuses a case, or for which memory does not suffice, is left out
// with a message.
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
