// One attention problem as data, with inputs that the dtype represents exactly, and the references'
// answers to it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kernels/attention/cpu.h"
#include "tests/support/reference_attention.h"

namespace tessera::test {

using reference::Vec;

struct AttentionCase {
  std::string name;
  std::vector<std::pair<int, int>> segments;  // (queries, keys)
  int q_heads = 1, kv_heads = 1, head_dim = 64;
  bool causal = false;
  int64_t window_left = -1, window_right = -1;
  double softcap = 0, dropout = 0;
  double q_factor = 1, kv_factor = 1;  // of the standard deviation of the inputs
  bool documents = false;              // segments of any number and lengths
  int tail = 0;                        // tokens after the last segment
  bool alibi = false, sink = false;    // of the values in make_spec()
};
std::ostream& operator<<(std::ostream& out, const AttentionCase& c);

// Inputs, without the tail: q and d_o [Nq, Hq, D], k and v [Nk, Hkv, D], d_lse [Hq, Nq].
struct AttentionInputs {
  Vec q, k, v, d_o, d_lse;
};
AttentionInputs make_inputs(const AttentionCase& c, DType dtype);

std::vector<int32_t> query_offsets(const AttentionCase& c);
std::vector<int32_t> key_offsets(const AttentionCase& c);

// The arguments of the kernels; cu_q and cu_k are left null.
AttentionProblem make_problem(const AttentionCase& c, DType dtype);
reference::AttentionSpec make_spec(const AttentionCase& c);

struct AttentionAnswer {
  reference::AttentionOutput output;
  reference::AttentionGradients gradients;
};
AttentionAnswer reference_answer(const AttentionCase& c, const AttentionInputs& inputs,
                                 reference::Precision precision);

// The cases that every backend must pass: head dimensions, unequal lengths, groups, windows, packed
// documents, softcap, dropout, large scores, ALiBi, sinks.
const std::vector<AttentionCase>& attention_cases();

}  // namespace tessera::test
