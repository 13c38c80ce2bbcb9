#include "train/plan/plan.h"

#include "model/flops.h"
#include "train/setup.h"

namespace tessera {
namespace {

// A micro-batch of the configured size; what the tokens are does not matter on `meta`.
Batch blank_batch(const RunConfig& config) {
  Batch batch;
  batch.samples = config.training.batch;
  batch.context = config.model.context;
  batch.targets.assign(size_t(batch.samples * batch.context), 0);
  if (config.data.document_mask) {
    for (int64_t i = 0; i <= batch.samples; ++i)
      batch.cu_seqlens.push_back(int32_t(i * batch.context));
  }
  return batch;
}

}  // namespace

Plan make_plan(const RunConfig& config) {
  Context ctx(planning_options(config));
  const Llama model(ctx, config.model, compute_options(config));
  AdamW optimizer(ctx, model.parameters(), optimizer_options(config));
  const std::vector<Batch> batches(size_t(config.training.accumulation), blank_batch(config));

  Plan plan;
  ctx.set_kernel_log(&plan.step);
  training_step(ctx, model, optimizer, batches, config.optimizer.lr, step_options(config));
  ctx.set_kernel_log(nullptr);
  if (config.evaluation.every > 0)
    evaluation_loss(ctx, model, batches.front(), config.memory.loss_chunk);

  plan.parameters = parameter_count(model.parameters());
  plan.flops_per_token = training_flops_per_token(config.model, config.model.context);
  plan.tokens_per_step = config.tokens_per_step();
  plan.peak_bytes = ctx.ledger().peak();
  plan.at_peak = ctx.ledger().at_peak();
  plan.peak_by_tag = ctx.ledger().peak_by_tag();
  return plan;
}

}  // namespace tessera
