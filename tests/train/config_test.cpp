#include "train/config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace tessera {
namespace {

const std::string kSmall =
    "model: {vocab_size: 65, layers: 2, width: 32, heads: 4, ffn_width: 64, context: 16}\n"
    "data: {sources: [{path: a.h5}]}\n";

RunConfig read(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  return read_run_config({"configs/x.yaml", yaml}, overrides);
}

// What the error says about `overrides` on top of a small valid configuration, or "no error".
std::string error_of(const std::vector<std::string>& overrides, const std::string& yaml = kSmall) {
  try {
    read(yaml, overrides);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::vector<std::filesystem::path> config_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(TESSERA_SOURCE_DIR) + "/configs")) {
    files.push_back(entry.path());
  }
  return files;
}

// A file whose sizes come from a run gets those of a preset: the run need not exist.
RunConfig load(const std::filesystem::path& file) {
  const bool inherits = load_config_text(file).text.find("init_from:") != std::string::npos;
  return inherits ? load_run_config(file, {"model.preset=stories260k"}, ConfigUse::stored)
                  : load_run_config(file, {}, ConfigUse::plan);
}

TEST(RunConfig, FillsWhatFollowsFromOtherKeys) {
  const RunConfig config = read(
      kSmall, {"run.seed=5", "attention.window=7", "training.batch=3", "training.accumulation=2"});
  EXPECT_EQ(config.run.name, "x");
  EXPECT_EQ(config.run.output_dir, "runs/x");
  EXPECT_EQ(config.data.shuffle_seed, 5u);
  EXPECT_EQ(config.model.kv_heads, 4);
  EXPECT_EQ(config.model.head_dim, 8);
  EXPECT_EQ(config.model.sliding_window, 7);
  EXPECT_EQ(config.sequences_per_step(), 6);
  EXPECT_EQ(config.tokens_per_step(), 6 * 16);
  EXPECT_EQ(read(kSmall, {"run.name=y"}).run.output_dir, "runs/y");
  EXPECT_EQ(read(kSmall, {"data.shuffle_seed=0"}).data.shuffle_seed, 0u);
}

TEST(RunConfig, FillsDecayStepsBySchedule) {
  const auto decay_steps = [](const std::string& type) {
    return read(kSmall,
                {"training.steps=1000", "schedule.warmup_steps=100", "schedule.type=" + type})
        .schedule.decay_steps;
  };
  EXPECT_EQ(decay_steps("cosine"), 900);
  EXPECT_EQ(decay_steps("linear"), 900);
  EXPECT_EQ(decay_steps("wsd"), 100);
  EXPECT_EQ(decay_steps("constant"), 0);
  EXPECT_EQ(read(kSmall, {"schedule.decay_steps=30"}).schedule.decay_steps, 30);
}

TEST(RunConfig, KeysOverrideThePresetInFileAndOnTheCommandLine) {
  const std::string yaml =
      "model: {context: 2K, preset: smollm2-135m}\ndata: {sources: [{path: a}]}";
  const RunConfig config = read(yaml, {"model.layers=3"});
  EXPECT_EQ(config.model.context, 2048);
  EXPECT_EQ(config.model.layers, 3);
  EXPECT_EQ(config.model.width, 576);
  EXPECT_EQ(config.model.head_dim, 64);
  EXPECT_EQ(config.model.rope.theta, 100000);
  const RunConfig other = read(yaml, {"model.preset=mistral-7b"});
  EXPECT_EQ(other.model.width, 4096);
  EXPECT_EQ(other.model.sliding_window, 4096);
  EXPECT_EQ(other.model.context, 2048);
  EXPECT_EQ(read(yaml, {"model.preset=mistral-7b", "attention.window=0"}).model.sliding_window, 0);
}

TEST(RunConfig, ResolvedTextReadsBackToItself) {
  for (const std::filesystem::path& file : config_files()) {
    const std::string text = to_yaml(load(file), Comments::help);
    const RunConfig again = read_run_config({"elsewhere.yaml", text}, {}, ConfigUse::stored);
    EXPECT_EQ(to_yaml(again, Comments::help), text) << file;
    EXPECT_EQ(again.run.name, file.stem().string());
  }
}

TEST(RunConfig, SchemaDescribesEverySection) {
  const nlohmann::json schema = nlohmann::json::parse(config_schema<RunConfig>("Tessera run"));
  std::vector<std::string> sections;
  for (const auto& [name, section] : schema["properties"].items()) {
    sections.push_back(name);
    EXPECT_EQ(section["additionalProperties"], false) << name;
    for (const auto& [key, property] : section["properties"].items()) {
      EXPECT_FALSE(property.value("description", "").empty()) << name << '.' << key;
    }
  }
  EXPECT_EQ(sections,
            (std::vector<std::string>{"attention", "checkpoint", "data", "evaluation", "logging",
                                      "memory", "model", "optimizer", "parallel", "precision",
                                      "run", "schedule", "training"}));
  EXPECT_EQ(schema["properties"]["run"]["properties"]["device"]["enum"],
            nlohmann::json::parse(R"(["auto", "cpu", "cuda", "simt"])"));
}

TEST(RunConfig, RefusesWhatThisBuildCannotDo) {
  EXPECT_EQ(error_of({"precision.mode=fp8"}),
            "--set precision.mode: fp8 is not available in this build (it has no FP8 kernels); use "
            "fp32 or bf16");
  EXPECT_EQ(error_of({"optimizer.master_weights=false"}),
            "--set optimizer.master_weights: false leaves nothing to train in fp32, where weights "
            "are their own masters; set it to true, or precision.mode to bf16");
  EXPECT_EQ(error_of({"parallel.data=2"}),
            "--set parallel.data: 2 processes asked, but this build trains in one; use 1");
}

TEST(RunConfig, CudnnIsRefusedWithWhatItIsNotAskedFor) {
  const auto error = [](std::vector<std::string> overrides) {
    overrides.insert(overrides.begin(), "attention.backend=cudnn");
    return error_of(overrides);
  };
  EXPECT_EQ(error({"precision.mode=bf16"}), "no error");
  EXPECT_EQ(error({"precision.mode=bf16", "run.device=cuda"}), "no error");
  const std::string begin = "--set attention.backend: cudnn ";
  EXPECT_EQ(error({"precision.mode=bf16", "run.device=cpu"}),
            begin + "runs on cuda alone; set run.device to cuda, or use flash");
  EXPECT_EQ(error({"precision.mode=bf16", "run.device=simt"}),
            begin + "runs on cuda alone; set run.device to cuda, or use flash");
  EXPECT_EQ(error({}), begin + "has no fp32; set precision.mode to bf16, or use flash");
  EXPECT_EQ(error({"precision.mode=bf16", "attention.window=8"}),
            begin + "is not asked for windows; set attention.window to 0, or use flash");
  EXPECT_EQ(error({"precision.mode=bf16", "attention.dropout=0.1"}),
            begin +
                "is not asked for softcap or dropout; set attention.softcap and attention.dropout "
                "to 0, or use flash");
  EXPECT_EQ(error({"precision.mode=bf16", "model.attention_sink=true"}),
            begin +
                "is not asked for ALiBi or sinks; set model.positions to rope and "
                "model.attention_sink to false, or use flash");
  EXPECT_EQ(error({"precision.mode=bf16", "data.document_mask=true"}),
            begin +
                "is not asked for packed documents; set data.document_mask to false, or use "
                "flash");
}

TEST(RunConfig, BrokenRulesNamePlaceKeyValuesAndRemedy) {
  EXPECT_EQ(error_of({}), "no error");
  EXPECT_EQ(
      error_of({}, "model:\n  preset: smollm2-135m\n  kv_heads: 4\ndata: {sources: [{path: a}]}"),
      "configs/x.yaml:3: model.kv_heads: 4 does not divide model.heads, 9; choose a number "
      "that does");
  EXPECT_EQ(error_of({"model.kv_heads=3"}),
            "--set model.kv_heads: 3 does not divide model.heads, 4; choose a number that does");
  EXPECT_EQ(error_of({"model.heads=5"}),
            "--set model.heads: 5 heads do not divide width 32; change one of them or give "
            "model.head_dim");
  EXPECT_EQ(error_of({}, "run: {seed: 1}"),
            "configs/x.yaml: model.vocab_size: must be positive, got 0; choose a model.preset or "
            "give the size");
  EXPECT_EQ(error_of({"data.sources=[]"}),
            "--set data.sources: no token files are given; list them as `- path: FILE.h5`");
  EXPECT_EQ(error_of({"data.sources=[{weight: 1}]"}),
            "--set data.sources: data.sources[0].path: is not given; name a token file");
  EXPECT_EQ(error_of({"data.sources=[{path: a, weight: 0}]"}),
            "--set data.sources: every weight is 0; give one source a positive weight");
  EXPECT_EQ(error_of({"training.steps=10", "schedule.warmup_steps=11"}),
            "--set schedule.warmup_steps: 11 is more than training.steps, 10; lower it or train "
            "longer");
  EXPECT_EQ(error_of({"training.steps=10", "schedule.warmup_steps=4", "schedule.decay_steps=7"}),
            "--set schedule.decay_steps: 7 after 4 warmup_steps is more than training.steps, 10; "
            "lower one of them");
  EXPECT_EQ(error_of({"model.context=1M", "training.batch=4K"}),
            "--set training.batch: expected an integer >= 1 and <= 1048576, got \"4K\"");
  EXPECT_EQ(error_of({"model.context=1M", "training.batch=4096"}),
            "--set training.batch: 4096 sequences of 1048576 tokens are more than a micro-batch "
            "can hold, 2147483647; use accumulation");
}

TEST(RunConfig, UnknownAndMistypedKeysNameTheFileAndLine) {
  EXPECT_EQ(error_of({}, "run:\n  seed: 1\n\noptimizer:\n  lrr: 1e-3\n"),
            "configs/x.yaml:5: optimizer.lrr: unknown key; did you mean optimizer.lr?");
  EXPECT_EQ(error_of({}, "training:\n  lr: 1e-3\n"),
            "configs/x.yaml:2: training.lr: unknown key; did you mean optimizer.lr?");
  EXPECT_EQ(error_of({}, "training:\n  steps: many\n"),
            "configs/x.yaml:2: training.steps: expected an integer >= 1 and <= 1000000000000, got "
            "\"many\"");
  EXPECT_EQ(error_of({}, "optimizer: {beta2: 1.0}"),
            "configs/x.yaml:1: optimizer.beta2: 1.0 is out of range; allowed is >= 0 and < 1");
  EXPECT_THROW(load_run_config("no/such.yaml"), Error);
}

TEST(RunConfig, AllConfigFilesLoad) {
  const std::vector<std::filesystem::path> files = config_files();
  EXPECT_GE(files.size(), 6u);
  for (const std::filesystem::path& file : files) {
    EXPECT_NO_THROW(load(file)) << file;
  }
}

TEST(ConfigFiles, KeepTheirBudgets) {
  const std::string folder = std::string(TESSERA_SOURCE_DIR) + "/configs/";
  const RunConfig small = load_run_config(folder + "shakespeare_char.yaml");
  EXPECT_EQ(parameter_count(small.model), 820608);
  EXPECT_EQ(small.model.context, 64);
  EXPECT_EQ(small.training.batch, 12);
  EXPECT_EQ(small.training.steps, 2000);
  EXPECT_EQ(small.attention.dropout, 0);
  EXPECT_EQ(small.precision.mode, PrecisionMode::fp32);
  const RunConfig large = load_run_config(folder + "llama3.1_8b_128k.yaml", {}, ConfigUse::plan);
  EXPECT_EQ(parameter_count(large.model), 8030261248);
  EXPECT_EQ(large.model.context, 131072);
  load_run_config(folder + "quickstart.yaml");
  load_run_config(folder + "shakespeare_char_384.yaml");
}

}  // namespace
}  // namespace tessera
