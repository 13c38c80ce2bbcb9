// Softmax cross-entropy over rows of logits.
#pragma once

#include "core/context.h"

namespace tessera {

// Per row: lse = log sum exp(logits), loss = lse - logits[target] + z_loss * lse^2, and
// dlogits = scale * d loss / d logits. A row whose target is `ignore_index` has loss 0 and gradient
// 0.
struct CrossEntropyArgs {
  Tensor logits;   // [N, V] f32, bf16 or f64, contiguous
  Tensor targets;  // [N] i32
  Tensor losses;   // [N] f32; f64 where logits are
  Tensor dlogits;  // [N, V] of the logits' dtype, or bf16 over f32 logits; its rows may begin where
                   // the logits' rows begin; undefined: not computed
  int32_t ignore_index = -100;
  float z_loss = 0;
  float scale = 1;
};

KernelCost cost(const CrossEntropyArgs& args);
// Throws Error for a target outside [0, V) that is not ignore_index.
void cross_entropy_rows(Context& ctx, const CrossEntropyArgs& args);

}  // namespace tessera
