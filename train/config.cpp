#include "train/config.h"

#include <algorithm>

#include "train/convert/model_source.h"

namespace tessera {
namespace {

void validate_sources(const DataConfig& data) {
  double total = 0;
  for (size_t i = 0; i < data.sources.size(); ++i) {
    check_key(!data.sources[i].path.empty(), fmt::format("data.sources[{}].path", i),
              "is not given; name a token file");
    total += data.sources[i].weight;
  }
  check_key(data.sources.empty() || total > 0, "data.sources",
            "every weight is 0; give one source a positive weight");
}

void validate_schedule(const ScheduleConfig& schedule, int64_t steps) {
  check_key(schedule.warmup_steps <= steps, "schedule.warmup_steps",
            "{} is more than training.steps, {}; lower it or train longer", schedule.warmup_steps,
            steps);
  const bool decays = schedule.type != ScheduleType::constant;
  check_key(!decays || schedule.warmup_steps + schedule.decay_steps <= steps,
            "schedule.decay_steps",
            "{} after {} warmup_steps is more than training.steps, {}; lower one of them",
            schedule.decay_steps, schedule.warmup_steps, steps);
}

int64_t automatic_decay_steps(const ScheduleConfig& schedule, int64_t steps) {
  if (schedule.type == ScheduleType::constant) return 0;
  const int64_t after_warmup = std::max<int64_t>(0, steps - schedule.warmup_steps);
  return schedule.type == ScheduleType::wsd ? std::min(after_warmup, (steps + 9) / 10)
                                            : after_warmup;
}

// What cuDNN is not asked for (kernels/attention/cudnn.h), as far as the configuration tells.
void validate_cudnn(const RunConfig& config) {
  if (config.attention.backend != AttentionBackend::cudnn) return;
  const auto require = [](bool condition, std::string_view what, std::string_view remedy) {
    check_key(condition, "attention.backend", "cudnn {}; {}, or use flash", what, remedy);
  };
  const DeviceChoice device = config.run.device;
  require(device == DeviceChoice::cuda || device == DeviceChoice::automatic, "runs on cuda alone",
          "set run.device to cuda");
  require(config.precision.mode == PrecisionMode::bf16, "has no fp32",
          "set precision.mode to bf16");
  require(config.model.sliding_window == 0, "is not asked for windows",
          "set attention.window to 0");
  require(config.attention.softcap == 0 && config.attention.dropout == 0,
          "is not asked for softcap or dropout",
          "set attention.softcap and attention.dropout to 0");
  require(config.model.positions != Positions::alibi && !config.model.attention_sink,
          "is not asked for ALiBi or sinks",
          "set model.positions to rope and model.attention_sink to false");
  require(!config.data.document_mask, "is not asked for packed documents",
          "set data.document_mask to false");
}

void name_run(RunSection& run, const ConfigText& text) {
  if (run.name.empty()) run.name = std::filesystem::path(text.name).stem().string();
  if (run.output_dir.empty()) run.output_dir = std::filesystem::path("runs") / run.name;
}

bool inherits(const RunConfig& given, ConfigUse use) {
  return !given.model.init_from.empty() && use != ConfigUse::stored;
}

// The model that the keys of a configuration are read on top of.
ModelConfig model_base(const RunConfig& given, ConfigUse use) {
  if (!inherits(given, use)) return model_preset(given.model.preset);
  check_key(given.model.preset == ModelConfig{}.preset, "model.init_from",
            "the sizes come from {}, so model.preset {} cannot be given too; leave one out",
            given.model.init_from, given.model.preset);
  const std::filesystem::path own = given.run.output_dir / "config.yaml";
  ModelConfig model = use == ConfigUse::resume && std::filesystem::exists(own)
                          ? read_run_config(load_config_text(own), {}, ConfigUse::stored).model
                          : open_model(given.model.init_from).config.model;
  model.preset = ModelConfig{}.preset;
  return model;
}

}  // namespace

void RunConfig::complete() {
  if (!data.shuffle_seed) data.shuffle_seed = run.seed;
  if (attention.window) model.sliding_window = *attention.window;
  if (schedule.decay_steps == 0) {
    schedule.decay_steps = automatic_decay_steps(schedule, training.steps);
  }
  model.complete();
  validate();
}

void RunConfig::validate() const {
  model.validate();
  validate_sources(data);
  validate_schedule(schedule, training.steps);
  validate_cudnn(*this);
  check_key(training.batch <= INT32_MAX / model.context, "training.batch",
            "{} sequences of {} tokens are more than a micro-batch can hold, {}; use accumulation",
            training.batch, model.context, INT32_MAX);
  check_key(optimizer.master_weights || precision.mode == PrecisionMode::bf16,
            "optimizer.master_weights",
            "false leaves nothing to train in fp32, where weights are their own masters; set it to "
            "true, or precision.mode to bf16");
  check_key(parallel.data == 1, "parallel.data",
            "{} processes asked, but this build trains in one; use 1", parallel.data);
}

RunConfig load_run_config(const std::filesystem::path& path,
                          const std::vector<std::string>& overrides, ConfigUse use) {
  return read_run_config(load_config_text(path), overrides, use);
}

RunConfig read_run_config(const ConfigText& text, const std::vector<std::string>& overrides,
                          ConfigUse use) {
  RunConfig given;  // read once for what the model stands on, then again on top of that
  const ConfigOrigins origins = read_config(given, text, overrides);
  try {
    name_run(given.run, text);
    RunConfig config;
    const ModelConfig source = model_base(given, use);
    config.model = source;
    read_config(config, text, overrides);
    name_run(config.run, text);
    if (inherits(given, use)) check_fits_weights(config.model, source, given.model.init_from);
    config.complete();
    const bool needs_data = use == ConfigUse::train || use == ConfigUse::resume;
    check_key(!needs_data || !config.data.sources.empty(), "data.sources",
              "no token files are given; list them as `- path: FILE.h5`");
    return config;
  } catch (const ConfigError& error) {
    throw origins.located(error);
  }
}

void override_config(RunConfig& config, const std::vector<std::string>& overrides,
                     const std::string& source_name) {
  if (overrides.empty()) return;
  const ModelConfig source = config.model;
  config.attention.window.reset();  // its value is in model.sliding_window, which may be given anew
  const ConfigOrigins origins = read_config(config, {source_name, "{}"}, overrides);
  try {
    check_fits_weights(config.model, source, source_name);
    config.complete();
  } catch (const ConfigError& error) {
    throw origins.located(error);
  }
}

}  // namespace tessera
