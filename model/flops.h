// Arithmetic of a training step, by the formula that MFU figures are usually quoted with.
#pragma once

#include "model/config.h"

namespace tessera {

// Forward and backward FLOPs per token at sequences of `context` tokens:
//   6 x (parameters in matrix products) + 12 x layers x heads x head_dim x (mean number of visible
//   keys).
// The embedding lookup counts nothing, the output layer counts, causal attention counts its visible
// half, recomputation does not count.
double training_flops_per_token(const ModelConfig& config, int64_t context);

}  // namespace tessera
