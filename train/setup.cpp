#include "train/setup.h"

#include <omp.h>

#include "kernels/launch/cpu/isa.h"

namespace tessera {

ContextOptions context_options(const RunConfig& config, Device device) {
  return {.device = device,
          .threads = config.run.threads > 0 ? config.run.threads : omp_get_num_procs(),
          .isa = best_isa(),
          .seed = config.run.seed};
}

ComputeOptions compute_options(const RunConfig& config) {
  return {.dtype = config.precision.mode == PrecisionMode::bf16 ? DType::bf16 : DType::f32,
          .attention = config.attention.backend,
          .attention_dropout = config.attention.dropout,
          .attention_softcap = config.attention.softcap,
          .recompute_blocks = config.memory.recompute == Recompute::block};
}

AdamWOptions optimizer_options(const RunConfig& config) {
  return {.beta1 = config.optimizer.beta1,
          .beta2 = config.optimizer.beta2,
          .eps = config.optimizer.eps,
          .weight_decay = config.optimizer.weight_decay};
}

StepOptions step_options(const RunConfig& config) {
  return {.gradient_clip = config.training.gradient_clip,
          .z_loss = config.training.z_loss,
          .loss_chunk = config.memory.loss_chunk};
}

LoaderConfig loader_config(const RunConfig& config) {
  LoaderConfig loader;
  for (const DataSource& source : config.data.sources)
    loader.files.push_back({source.path, source.weight});
  loader.context = config.model.context;
  loader.pack = config.data.pack;
  loader.document_mask = config.data.document_mask;
  loader.seed = *config.data.shuffle_seed;
  // The loader hands out micro-batches; a step takes `accumulation` of them.
  loader.samples_per_step = config.training.batch;
  loader.prefetch = config.data.prefetch;
  return loader;
}

}  // namespace tessera
