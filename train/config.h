// Everything a run is told, as one struct a section of its YAML file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "kernels/attention/op.h"
#include "model/config.h"

namespace tessera {

enum class DeviceChoice { automatic, cpu, cuda, simt };
constexpr auto enum_names(DeviceChoice) {
  return std::to_array<EnumName<DeviceChoice>>({{DeviceChoice::automatic, "auto"},
                                                {DeviceChoice::cpu, "cpu"},
                                                {DeviceChoice::cuda, "cuda"},
                                                {DeviceChoice::simt, "simt"}});
}

struct RunSection {
  std::string name;                  // empty: the file's name without its ending
  std::filesystem::path output_dir;  // empty: runs/NAME
  uint64_t seed = 1;
  DeviceChoice device = DeviceChoice::automatic;
  int threads = 0;

  void visit(auto&& v) {
    v("name", name, "shown in logs and reports; by default the file's name");
    v("output_dir", output_dir, "metrics and checkpoints; by default runs/NAME");
    v("seed", seed, "of initial weights, order of data and dropout");
    v("device", device,
      "where to compute; auto: cuda where there is a GPU; simt: CUDA kernels, emulated");
    v("threads", threads, "0: one for each core", between(0, 4096));
  }
};

struct DataSource {
  std::filesystem::path path;
  double weight = 1;

  void visit(auto&& v) {
    v("path", path, "token file written by prepare-data", not_empty());
    v("weight", weight, "share of the samples, relative to the other sources", at_least(0));
  }
};

// A sample has model.context tokens; the token files name their tokenizer.
struct DataConfig {
  std::vector<DataSource> sources;
  bool pack = false;
  bool document_mask = false;
  std::optional<uint64_t> shuffle_seed;  // complete() fills in run.seed
  int prefetch = 4;

  void visit(auto&& v) {
    v("sources", sources, "token files; their val splits are for evaluation");
    v("pack", pack, "true: shuffled documents laid end to end; false: windows of the stream");
    v("document_mask", document_mask, "tokens attend within their own document only");
    v("shuffle_seed", shuffle_seed, "order of the samples; null: run.seed");
    v("prefetch", prefetch, "batches read ahead", between(0, 1024));
  }
};

enum class PrecisionMode { fp32, bf16 };
constexpr auto enum_names(PrecisionMode) {
  return std::to_array<EnumName<PrecisionMode>>(
      {{PrecisionMode::fp32, "fp32"},
       {PrecisionMode::bf16, "bf16"},
       {.name = "fp8", .unavailable = "it has no FP8 kernels"}});
}

struct PrecisionConfig {
  PrecisionMode mode = PrecisionMode::fp32;
  bool tf32 = false;

  void visit(auto&& v) {
    v("mode", mode, "of weights and activations; bf16 keeps master weights and sums in fp32");
    v("tf32", tf32, "fp32 products on cuda round their factors to 10 bits; several times faster");
  }
};

constexpr auto enum_names(AttentionBackend) {
  return std::to_array<EnumName<AttentionBackend>>({{AttentionBackend::flash, "flash"},
                                                    {AttentionBackend::standard, "standard"},
                                                    {AttentionBackend::cudnn, "cudnn"}});
}

struct AttentionConfig {
  AttentionBackend backend = AttentionBackend::flash;
  std::optional<int64_t> window;  // complete() writes it to model.sliding_window
  double softcap = 0;
  double dropout = 0;
  bool deterministic = true;

  void visit(auto&& v) {
    v("backend", backend,
      "flash: linear memory; to compare with: standard: whole score matrices; cudnn: on cuda, in "
      "bf16");
    v("window", window, "replaces model.sliding_window; 0: none", tokens(0));
    v("softcap", softcap, "scores become softcap * tanh(score / softcap); 0: off", at_least(0));
    v("dropout", dropout, "of attention probabilities while training", from_to_below(0, 1));
    v("deterministic", deterministic,
      "false: GPUs may add up query gradients by atomics, for speed; results differ a little");
  }
};

struct OptimizerConfig {  // AdamW
  double lr = 3e-4;
  double beta1 = 0.9, beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  bool master_weights = true;

  void visit(auto&& v) {
    v("lr", lr, "peak learning rate of AdamW", positive());
    v("beta1", beta1, "decay of the mean gradient", from_to_below(0, 1));
    v("beta2", beta2, "decay of the mean squared gradient", from_to_below(0, 1));
    v("eps", eps, "added to the root of the mean squared gradient", positive());
    v("weight_decay", weight_decay, "decoupled, of matrices only", at_least(0));
    v("master_weights", master_weights,
      "false: bf16 matrices have no fp32 copy, and are rounded at random, right on average");
  }
};

enum class ScheduleType { constant, cosine, linear, wsd };
constexpr auto enum_names(ScheduleType) {
  return std::to_array<EnumName<ScheduleType>>({{ScheduleType::constant, "constant"},
                                                {ScheduleType::cosine, "cosine"},
                                                {ScheduleType::linear, "linear"},
                                                {ScheduleType::wsd, "wsd"}});
}

// The rate rises linearly over warmup_steps to optimizer.lr. Then constant keeps it; cosine and
// linear lower it over decay_steps to min_lr_ratio times the peak, where it stays; wsd (warmup,
// stable, decay) keeps it and lowers it linearly over the last decay_steps.
struct ScheduleConfig {
  ScheduleType type = ScheduleType::cosine;
  int64_t warmup_steps = 0;
  int64_t decay_steps = 0;  // complete() turns 0 into: all after warmup; wsd: a tenth of all
  double min_lr_ratio = 0.1;

  void visit(auto&& v) {
    v("type", type, "how the learning rate goes on after warmup");
    v("warmup_steps", warmup_steps, "linear rise from 0 to the peak", at_least(0));
    v("decay_steps", decay_steps, "0: all after warmup; wsd: the last tenth of all", at_least(0));
    v("min_lr_ratio", min_lr_ratio, "last learning rate / peak", between(0, 1));
  }
};

struct TrainingConfig {
  int64_t steps = 1000;
  int64_t batch = 8;
  int64_t accumulation = 1;
  double gradient_clip = 1;
  double z_loss = 0;

  void visit(auto&& v) {
    v("steps", steps, "updates of the weights", between(1, 1e12));
    v("batch", batch, "sequences of a micro-batch", between(1, 1 << 20));
    v("accumulation", accumulation, "micro-batches of a step", between(1, 1 << 20));
    v("gradient_clip", gradient_clip, "largest global gradient norm; 0: no clipping", at_least(0));
    v("z_loss", z_loss, "weight of the squared log partition function", at_least(0));
  }
};

enum class Recompute { none, block };
constexpr auto enum_names(Recompute) {
  return std::to_array<EnumName<Recompute>>(
      {{Recompute::none, "none"}, {Recompute::block, "block"}});
}

struct MemoryConfig {
  Recompute recompute = Recompute::none;
  int64_t loss_chunk = 0;

  void visit(auto&& v) {
    v("recompute", recompute, "block: keep each block's input and run it again in backward");
    v("loss_chunk", loss_chunk, "tokens whose logits exist at a time; 0: automatic",
      tokens(0, INT32_MAX));
  }
};

struct ParallelConfig {
  int data = 1;

  void visit(auto&& v) { v("data", data, "processes that share a step's batch", at_least(1)); }
};

struct CheckpointConfig {
  int64_t every = 1000;
  int keep = 2;
  bool at_end = true;

  void visit(auto&& v) {
    v("every", every, "steps between checkpoints; 0: none on the way", at_least(0));
    v("keep", keep, "newest checkpoints kept", at_least(1));
    v("at_end", at_end, "save one after the last step");
  }
};

struct EvaluationSection {
  int64_t every = 500;
  int64_t batches = 0;

  void visit(auto&& v) {
    v("every", every, "steps between evaluations, the last step included; 0: never", at_least(0));
    v("batches", batches, "batches of the val split, spread evenly; 0: all", at_least(0));
  }
};

struct LoggingConfig {
  int64_t every = 10;
  bool console = true;
  bool tensorboard = true;
  bool report = true;

  void visit(auto&& v) {
    v("every", every, "steps between lines that stay on the screen", at_least(1));
    v("console", console, "false: report to files only");
    v("tensorboard", tensorboard, "write the scalars of metrics.jsonl for TensorBoard as well");
    v("report", report, "draw report.html at every checkpoint and at the end");
  }
};

struct RunConfig {
  RunSection run;
  ModelConfig model;
  DataConfig data;
  PrecisionConfig precision;
  AttentionConfig attention;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  TrainingConfig training;
  MemoryConfig memory;
  ParallelConfig parallel;
  CheckpointConfig checkpoint;
  EvaluationSection evaluation;
  LoggingConfig logging;

  void visit(auto&& v) {
    v("run", run, "what the run is called, where it runs and writes");
    v("model", model, "the network: a preset, sizes, or both");
    v("data", data, "what it learns from");
    v("precision", precision, "arithmetic");
    v("attention", attention, "how attention is computed");
    v("optimizer", optimizer, "AdamW");
    v("schedule", schedule, "learning rate over the steps");
    v("training", training, "how long, and on how much at a time");
    v("memory", memory, "trades of time for memory");
    v("parallel", parallel, "several processes");
    v("checkpoint", checkpoint, "what a run leaves to continue from");
    v("evaluation", evaluation, "loss on the val split");
    v("logging", logging, "what is shown");
  }

  int64_t sequences_per_step() const { return training.batch * training.accumulation; }
  int64_t tokens_per_step() const { return sequences_per_step() * model.context; }

  // Fills what follows from other keys, then validates. Throws ConfigError.
  void complete();
  void validate() const;
};

enum class ConfigUse {
  train,
  resume,  // sizes of model.init_from come from the run's own folder, where it has begun
  plan,    // needs no token files
  stored,  // a checkpoint's: every key is there, and model.init_from only tells of the past
};

// The YAML file on top of its model preset and the defaults, then "section.key=value" overrides;
// completed. Throws Error: one line naming the file and line (or --set), the key and the remedy.
RunConfig load_run_config(const std::filesystem::path& path,
                          const std::vector<std::string>& overrides = {},
                          ConfigUse use = ConfigUse::train);

// The same from text.
RunConfig read_run_config(const ConfigText& text, const std::vector<std::string>& overrides = {},
                          ConfigUse use = ConfigUse::train);

// "section.key=value" on top of a completed configuration whose weights exist: Error for keys of
// `model` that these fix (check_fits_weights()). `source_name` is for the error.
void override_config(RunConfig& config, const std::vector<std::string>& overrides,
                     const std::string& source_name);

}  // namespace tessera
