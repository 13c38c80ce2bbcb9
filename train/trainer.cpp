#include "train/trainer.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "kernels/launch/device_peak.h"
#include "kernels/linear/cublaslt.h"
#include "model/flops.h"
#include "train/init_from.h"
#include "train/report/report.h"
#include "train/run_folder.h"
#include "train/schedule.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::vector<NamedTensor> checkpoint_tensors(const AdamW& optimizer) {
  std::vector<NamedTensor> tensors;
  for (auto& [name, tensor] : optimizer.state()) tensors.push_back({name, tensor});
  return tensors;
}

// Checked here, before anything is written.
Loader open_loader(const RunConfig& config, bool resume) {
  Loader loader(loader_config(config));
  loader.check_vocabulary(config.model.vocab_size);
  const bool begun = resume && std::filesystem::exists(config.run.output_dir / "config.yaml");
  if (!config.model.init_from.empty() && !begun) check_tokenizer_of(config.model.init_from, loader);
  return loader;
}

}  // namespace

void Trainer::run() {
  announce();
  while (!finished() && !stop_.received()) {
    const auto begin = Clock::now();
    const StepResult result = step();
    report(result, seconds_since(begin));
    if (due(config_.evaluation.every) || finished()) evaluate();
    if (due(config_.checkpoint.every) && !finished()) {
      if (const auto failure = save_checkpoint()) console_.warn(*failure + "; training goes on");
      draw_report();
    }
  }
  leave();
}

void Trainer::leave() {
  std::optional<std::string> failure;
  if (!finished() || config_.checkpoint.at_end || due(config_.checkpoint.every))
    failure = save_checkpoint();
  draw_report();
  if (steps_without_targets_ > 0) {
    console_.warn(
        fmt::format("{} of the steps had no token that carries loss", steps_without_targets_));
  }
  check(!failure, "{}; make room and go on with --resume", failure.value_or(""));
  if (finished()) {
    console_.say(fmt::format("done: {} steps; everything is in {}", step_, folder().string()));
  } else {
    console_.say(fmt::format("stopped by signal {} after step {}; continue with --resume",
                             stop_.received(), step_));
  }
}

StepResult Trainer::step() {
  std::vector<Batch> micro_batches;
  for (int64_t i = 0; i < config_.training.accumulation; ++i)
    micro_batches.push_back(loader_.next());
  ctx_.set_step(uint32_t(step_ * config_.training.accumulation));
  const double lr =
      learning_rate(config_.schedule, config_.optimizer.lr, step_, config_.training.steps);
  try {
    const StepResult result =
        training_step(ctx_, model_, optimizer_, micro_batches, lr, step_options(config_));
    ++step_;
    tokens_ += config_.tokens_per_step();
    return result;
  } catch (const NonFiniteError& error) {
    fail(
        "step {}: {}. The weights are those of step {}; resume from a checkpoint with a lower "
        "optimizer.lr, or see "
        "whether the data changed here",
        step_ + 1, error.what(), step_);
  }
}

void Trainer::report(const StepResult& result, double seconds) {
  if (result.targets == 0) {
    if (steps_without_targets_++ == 0) {
      console_.warn(fmt::format(
          "step {}: no token of its batch carries loss, so nothing was learned; a larger batch or "
          "a longer context has more responses",
          step_));
    }
    return;
  }
  StepRecord record;
  record.step = step_;
  record.tokens = tokens_;
  record.loss = result.loss;
  record.grad_norm = result.grad_norm;
  record.lr =
      learning_rate(config_.schedule, config_.optimizer.lr, step_ - 1, config_.training.steps);
  record.step_ms = seconds * 1e3;
  record.tokens_per_second = double(config_.tokens_per_step()) / seconds;
  if (peak_flops_ > 0) {
    record.model_flops_utilization =
        training_flops_per_token(config_.model, config_.model.context) * record.tokens_per_second /
        peak_flops_;
  }
  record.peak_bytes = ctx_.ledger().peak();
  record.peak_by_tag = ctx_.ledger().peak_by_tag();
  metrics_->write(record);
  if (tensorboard_) tensorboard_->write(record);
  if (config_.logging.console)
    console_.step(record, due(config_.logging.every) || step_ == 1 || finished());
}

void Trainer::evaluate() {
  if (!evaluation_) return;
  const auto begin = Clock::now();
  EvaluationRecord record{.step = step_, .tokens = tokens_};
  double sum = 0;
  int64_t targets = 0;
  evaluation_->rewind();
  for (Batch batch; evaluation_->next(batch);) {
    if (stop_.received())
      return console_.warn(fmt::format("the evaluation of step {} was stopped", step_));
    sum += evaluation_loss(ctx_, model_, batch, config_.memory.loss_chunk);
    targets += batch.target_count();
  }
  record.loss = sum / double(std::max<int64_t>(1, targets));
  record.seconds = seconds_since(begin);
  metrics_->write(record);
  if (tensorboard_) tensorboard_->write(record);
  if (config_.logging.console) console_.evaluation(record);
}

std::optional<std::string> Trainer::save_checkpoint() {
  if (saved_step_ == step_) return std::nullopt;
  const nlohmann::ordered_json state = {
      {"optimizer_steps", optimizer_.steps()},
      {"data", nlohmann::ordered_json::parse(to_json(loader_.state()))}};
  const CheckpointMeta meta{.step = step_,
                            .tokens = tokens_,
                            .config_yaml = to_yaml(config_),
                            .tokenizer_json = loader_.tokenizer_json(),
                            .state_json = state.dump()};
  try {
    checkpoints_.save(meta, checkpoint_tensors(optimizer_));
    saved_step_ = step_;
    return std::nullopt;
  } catch (const Error& error) {
    return fmt::format(
        "no checkpoint of step {}: {}; {}", step_, error.what(),
        saved_step_ >= 0 ? fmt::format("that of step {} is kept", saved_step_) : "there is none");
  }
}

void Trainer::draw_report() {
  if (!config_.logging.report) return;
  try {
    write_report(folder(), config_.run.name);
  } catch (const Error& error) {
    console_.warn(error.what());
  }
}

Trainer::Trainer(const RunConfig& config, bool resume)
    : config_(config),
      ctx_(context_options(config)),
      loader_(open_loader(config, resume)),
      model_(ctx_, config.model, compute_options(config)),
      optimizer_(ctx_, model_.parameters(), optimizer_options(config)),
      evaluation_(open_evaluation(config)),
      checkpoints_(prepare_run_folder(config, resume) / "checkpoints", config.checkpoint.keep),
      console_(config.training.steps) {
  ctx_.state<CublasLtOptions>().tf32 = config.precision.tf32;
  if (!resume || !restore()) set_initial_weights();
  write_resolved_config(config);
  metrics_.emplace(folder() / "metrics.jsonl", step_);
  if (config.logging.tensorboard) tensorboard_.emplace(folder() / "tensorboard", step_);
  const DType dtype = compute_options(config).dtype;
  peak_flops_ = device_peak_flops(ctx_, dtype, config.precision.tf32);
}

void Trainer::set_initial_weights() {
  if (!config_.model.init_from.empty()) {
    read_initial_weights(ctx_, config_.model.init_from, optimizer_);
    console_.say(fmt::format("weights from {}", config_.model.init_from));
  } else {
    initialize(ctx_, model_.parameters(), config_.run.seed);
    optimizer_.copy_masters(ctx_);
  }
}

bool Trainer::restore() {
  const LatestCheckpoint latest = find_latest_checkpoint(checkpoints_.folder());
  for (const std::string& damaged : latest.damaged) console_.warn(damaged);
  if (!latest.directory) {
    check(latest.damaged.empty(),
          "--resume: every checkpoint in {} is damaged; nothing was changed",
          checkpoints_.folder().string());
    console_.say(
        fmt::format("no checkpoint in {} yet: from the beginning", checkpoints_.folder().string()));
    return false;
  }
  const CheckpointReader reader(*latest.directory, Verify::as_read);
  const auto state = nlohmann::json::parse(reader.meta().state_json);
  check(state.contains("optimizer_steps"),
        "--resume: {} holds converted weights without an optimizer's state; start a run from them "
        "with model.init_from",
        latest.directory->string());
  for (const NamedTensor& tensor : checkpoint_tensors(optimizer_))
    reader.read(tensor.name, tensor.tensor);
  optimizer_.copy_working(ctx_);
  optimizer_.set_steps(state.at("optimizer_steps").get<int64_t>());
  loader_.restore(loader_state_from_json(state.at("data").dump()));
  step_ = reader.meta().step;
  tokens_ = reader.meta().tokens;
  saved_step_ = step_;
  console_.say(fmt::format("resumed from {}", latest.directory->string()));
  return true;
}

void Trainer::announce() {
  if (!config_.logging.console) return;
  if (config_.run.device == DeviceChoice::automatic && ctx_.device() == Device::cpu &&
      cuda_device_count() > 0)
    console_.warn("the GPU is not used: this build has no cuBLASLt (libcublas-dev)");
  const bool tf32 = config_.precision.tf32 && ctx_.device() == Device::cuda;
  const char* precision = config_.precision.mode == PrecisionMode::bf16 ? "bf16"
                          : tf32                                        ? "tf32"
                                                                        : "fp32";
  const std::string peak =
      peak_flops_ > 0 ? fmt::format("peak {:.0f} GFLOP/s in {}", peak_flops_ * 1e-9, precision)
                      : fmt::format("in {}", precision);
  console_.say(fmt::format("{}: {} parameters, {} x {} tokens a step, {}, {}", config_.run.name,
                           format_count(double(parameter_count(model_.parameters()))),
                           config_.sequences_per_step(), config_.model.context,
                           device_description(ctx_), peak));
}

}  // namespace tessera
