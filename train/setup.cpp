#include "train/setup.h"

#include <omp.h>

#include <utility>

#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/device_peak.h"
#include "kernels/linear/cublaslt.h"

namespace tessera {

Device run_device(const RunSection& run) {
  switch (run.device) {
    case DeviceChoice::cpu:
      return Device::cpu;
    case DeviceChoice::cuda:
      return Device::cuda;
    case DeviceChoice::simt:
      return Device::simt;
    case DeviceChoice::automatic:
      break;
  }
  return has_cublaslt() && cuda_device_count() > 0 ? Device::cuda : Device::cpu;
}

ContextOptions context_options(const RunSection& run) {
  return {.device = run_device(run),
          .threads = run.threads > 0 ? run.threads : omp_get_num_procs(),
          .isa = best_isa(),
          .seed = run.seed};
}

ContextOptions context_options(const RunConfig& config) {
  const ContextOptions options = context_options(config.run);
  check(config.attention.backend != AttentionBackend::cudnn || options.device == Device::cuda,
        "attention.backend: cudnn runs on cuda alone, and run.device auto found no GPU; use flash, "
        "or a machine with a GPU (nvidia-smi)");
  check(config.precision.mode != PrecisionMode::bf16 || device_has_bf16(options.device),
        "precision.mode: {} is a GPU before sm_80 here, which has no products in bf16; use fp32",
        name_of(options.device));
  return options;
}

ContextOptions planning_options(const RunConfig& config) {
  ContextOptions options = context_options(config);
  options.planned = std::exchange(options.device, Device::meta);
  return options;
}

ComputeOptions compute_options(const RunConfig& config) {
  return {.dtype = config.precision.mode == PrecisionMode::bf16 ? DType::bf16 : DType::f32,
          .attention = config.attention.backend,
          .attention_dropout = config.attention.dropout,
          .attention_softcap = config.attention.softcap,
          .attention_deterministic = config.attention.deterministic,
          .recompute_blocks = config.memory.recompute == Recompute::block};
}

AdamWOptions optimizer_options(const RunConfig& config) {
  return {.beta1 = config.optimizer.beta1,
          .beta2 = config.optimizer.beta2,
          .eps = config.optimizer.eps,
          .weight_decay = config.optimizer.weight_decay,
          .master_weights = config.optimizer.master_weights};
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
