// A training run: the loop, readable in one sitting (trainer.cpp), and what it keeps from step to
// step.
#pragma once

#include <filesystem>
#include <optional>

#include "core/program/stop_signal.h"
#include "data/loader.h"
#include "train/checkpoint/checkpoint.h"
#include "train/config.h"
#include "train/metrics/console.h"
#include "train/metrics/jsonl.h"
#include "train/metrics/tensorboard.h"
#include "train/setup.h"

namespace tessera {

class Trainer {
 public:
  // Opens the data, builds the model and the run's folder. With `resume`, continues from the
  // folder's newest good checkpoint; otherwise the folder must not hold a run yet.
  Trainer(const RunConfig& config, bool resume);

  // Trains to the last step, or until SIGINT or SIGTERM: then the step in progress is finished and
  // checkpointed.
  void run();

 private:
  // Random, or those of model.init_from.
  void set_initial_weights();
  // False when the run has no checkpoint yet.
  bool restore();
  void announce();
  // After the last step: what remains to be saved and said. Throws Error if the weights are lost.
  void leave();
  StepResult step();
  void report(const StepResult& result, double seconds);
  // Nothing is recorded when a signal stops it.
  void evaluate();
  // Why this step's could not be saved, and which one is there instead; nothing where it is saved.
  std::optional<std::string> save_checkpoint();
  // A failure is a warning.
  void draw_report();
  bool due(int64_t every) const { return every > 0 && step_ % every == 0; }
  bool finished() const { return step_ >= config_.training.steps; }
  std::filesystem::path folder() const { return config_.run.output_dir; }

  StopSignal stop_;  // first: before threads exist
  RunConfig config_;
  Context ctx_;
  Loader loader_;
  Llama model_;
  AdamW optimizer_;
  std::optional<EvaluationReader> evaluation_;  // opened before anything is written
  CheckpointStore checkpoints_;
  Console console_;
  std::optional<MetricsFile> metrics_;
  std::optional<TensorBoardFile> tensorboard_;
  double peak_flops_ = 0;  // of this machine, in the run's precision
  int64_t step_ = 0, tokens_ = 0;
  int64_t saved_step_ = -1;
  int64_t steps_without_targets_ = 0;
};

}  // namespace tessera
