// The loss of a language model. Gradients are computed in forward, where the logits are at hand,
// and only handed over in backward (scaled, if the upstream gradient is not 1; plans take it for
// 1).
#pragma once

#include "core/autograd/op.h"

namespace tessera {

struct LossOptions {
  int32_t ignore_index = -100;  // target of a row that does not count
  double z_loss = 0;            // weight of lse^2 (PaLM: Chowdhery et al., 2022, section 5)
  double scale = 1;             // of the sum over rows: 1 / rows gives the mean
  int64_t chunk = 0;            // rows of logits that exist at a time; 0: loss_chunk()
};

// The default number of rows of logits [rows, vocab] that exist at a time on the device.
int64_t loss_chunk(int64_t rows, int64_t vocab, Device device = Device::cpu);

// scale * sum over the rows that count of lse - logits[target] + z_loss * lse^2, where
// logits = hidden weight^T and lse = log sum exp(logits): f32 [] (f64 where hidden is). The full
// logits never exist. hidden [N, d] and weight [V, d] of one dtype (f32, bf16 or f64); targets [N]
// i32, each in [0, V) or ignore_index, else Error, or on a GPU a loss of NaN. Saved: the gradients
// of hidden and weight.
Var linear_cross_entropy(Context& ctx, const Var& hidden, const Var& weight, const Tensor& targets,
                         const LossOptions& options = {});

// lse - logits[target] of every row, 0 where ignored: f32 [N] (f64 where hidden is). Not
// differentiable; z_loss and scale are not applied.
Tensor linear_cross_entropy_per_token(Context& ctx, const Tensor& hidden, const Tensor& weight,
                                      const Tensor& targets, const LossOptions& options = {});

// The same loss from logits [N, V] (f32, bf16 or f64): with linear() the unfused composition of
// linear_cross_entropy. Saved: the gradient of the logits.
Var cross_entropy(Context& ctx, const Var& logits, const Tensor& targets,
                  const LossOptions& options = {});

}  // namespace tessera
