// Embedding kernels. Tokens outside [0, V) are errors; on a GPU, where the host cannot look, their
// rows of y become NaN, and their rows of dy are left out.
#pragma once

#include "core/context.h"

namespace tessera {

// All tensors are contiguous.

struct EmbeddingForwardArgs {
  Tensor tokens;  // i32 [N]
  Tensor table;   // [V, d], f32, bf16 or f64
  Tensor y;       // [N, d], the table's dtype: row n is row tokens[n] of the table
};

struct EmbeddingBackwardArgs {
  Tensor tokens;    // i32 [N]
  Tensor dy;        // [N, d], f32, bf16 or f64
  Tensor dtable;    // [V, d], f32 (f64 for f64 dy): row v receives the sum of v's rows of dy
  bool accumulate;  // add to dtable instead of overwriting it
};

void embedding_forward(Context& ctx, const EmbeddingForwardArgs& args);
// Every element sums in the order of the tokens, whatever the number of threads. Workspace, on a
// GPU: 2 V + 3 N integers.
void embedding_backward(Context& ctx, const EmbeddingBackwardArgs& args);

KernelCost cost(const EmbeddingForwardArgs& args);
KernelCost cost(const EmbeddingBackwardArgs& args);

}  // namespace tessera
