// One training step: the same code trains, is planned on `meta` and is timed by `bench`.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/loader.h"
#include "model/llama.h"
#include "train/optimizer/adamw.h"

namespace tessera {

struct StepOptions {
  double gradient_clip = 1;  // largest global norm; 0: no clipping
  double z_loss = 0;
  int64_t loss_chunk = 0;  // rows of logits that exist at a time; 0: automatic
};

struct StepResult {
  double loss = 0;       // mean over the step's targets, with z-loss
  double grad_norm = 0;  // before clipping
  int64_t targets = 0;
};

// A loss or gradient is infinite or NaN; what() names the first tensor that is.
class NonFiniteError : public Error {
 public:
  using Error::Error;
};

// Copies a host batch to the context's device; on `meta` only allocates. Memory depends on the
// batch's size alone.
DeviceBatch upload(Context& ctx, const Batch& batch);

// Forward and backward over the micro-batches (gradients add up; each target counts the same),
// clipping, update. Micro-batch i draws the random numbers of ctx.step() + i, so that no two share
// a dropout mask. Without a target nothing changes. On NonFiniteError the parameters are those of
// before.
StepResult training_step(Context& ctx, const Llama& model, AdamW& optimizer,
                         std::span<const Batch> micro_batches, double lr,
                         const StepOptions& options);

// The loss of each of the batch's tokens, without z-loss; 0 where there is no target: [B * T], none
// on `meta`. No gradients are recorded.
std::vector<float> token_losses(Context& ctx, const Llama& model, const Batch& batch,
                                int64_t loss_chunk);

// Their sum, in double.
double evaluation_loss(Context& ctx, const Llama& model, const Batch& batch, int64_t loss_chunk);

}  // namespace tessera
