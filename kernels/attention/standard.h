// Standard attention on the CPU: whole matrices of scores, by oneDNN's GEMM. It computes what cpu.h
// describes, with memory that grows with the square of the length: to compare with.
#pragma once

#include "kernels/attention/cpu.h"

namespace tessera {

// Matrices of one head of one segment, as its rows are turned into probabilities. T is f64 for f64,
// else f32; S is the storage type.
struct StandardRows {
  const AttentionProblem* problem;
  const AttentionExtras* extras;
  int64_t segment, head;
  void* scores;         // T [Sq, Sk], of stride max_k
  void* probabilities;  // S [Sq, Sk], of stride max_k; without dropout and softcap it may be the
                        // same as `scores`
};

// From scores q k^T: probabilities, and in `scores` the same after dropout. lse [Sq] is T, written
// unless null.
template <Isa isa>
void standard_softmax(const StandardRows& rows, void* lse, int threads);

struct StandardRowGradients {
  void* d_p;                  // T [Sq, Sk], of stride max_k
  const void* d_lse;          // T [Sq] or null
  const void* lse = nullptr;  // T [Sq], with a sink only
  void* d_sink = nullptr;     // T [Sq], written: each row's part of the sink's gradient
};

// From probabilities and d_p = d_o v^T: in d_p the gradient of q k^T, in `scores` (in: q k^T if a
// softcap is set) the probabilities after dropout.
template <Isa isa>
void standard_gradient(const StandardRows& rows, const StandardRowGradients& gradients,
                       int threads);

// Bytes of workspace; functions of sizes, not of pointers.
size_t standard_forward_workspace(const AttentionProblem& problem, int threads);
size_t standard_backward_workspace(const AttentionProblem& problem, int threads);

// probabilities: S [Hq, Nq, max_k], of which a query's row holds its segment's keys. lse may be
// null, in backward it is read with a sink only, and o not at all.
void standard_forward_cpu(const AttentionForwardCpu& args, void* probabilities, int threads,
                          Isa isa);
void standard_backward_cpu(const AttentionBackwardCpu& args, void* probabilities, int threads,
                           Isa isa);

}  // namespace tessera
