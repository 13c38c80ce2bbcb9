// Softmax cross-entropy over rows of logits.
#pragma once

#include "core/context.h"

namespace tessera {

// Per row: lse = log sum exp(logits), loss = lse - logits[target] + z_loss * lse^2, and
// dlogits = scale * d loss / d logits. A row whose target is `ignore_index` has loss and gradient
// 0. Rows of logits and of dlogits may be further apart than they are long.
struct CrossEntropyArgs {
  Tensor logits;   // [N, V] f32, bf16 or f64
  Tensor targets;  // [N] i32
  Tensor losses;   // [N] f32; f64 where logits are
  Tensor dlogits;  // [N, V] of the logits' dtype, or bf16 for f32 logits; undefined: not computed.
                   // Its rows may begin where the logits' rows begin: then it replaces them.
  int32_t ignore_index = -100;
  double z_loss = 0;
  double scale = 1;
};

// Throws Error, with the position, for a target outside [0, vocab) that is not ignore_index. On
// `cpu` alone: a GPU gives such a row loss and gradient NaN, for the host cannot look.
void check_targets(const Tensor& targets, int64_t vocab, int32_t ignore_index);

KernelCost cost(const CrossEntropyArgs& args);
// Checks the targets, too.
void cross_entropy_rows(Context& ctx, const CrossEntropyArgs& args);

// total [] = scale * the sum of losses [N], both f32 or both f64, summed in f64.
void total_loss(Context& ctx, const Tensor& losses, double scale, const Tensor& total);

}  // namespace tessera
