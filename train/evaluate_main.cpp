// evaluate CHECKPOINT TOKENS.h5: how well a model predicts a token file.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/config/scalar.h"
#include "core/files/file.h"
#include "core/files/output_file.h"
#include "core/program/choice_option.h"
#include "core/program/program.h"
#include "core/program/progress_line.h"
#include "core/program/stop_signal.h"
#include "train/device_options.h"
#include "train/evaluator.h"
#include "train/load_model.h"
#include "train/metrics/console.h"
#include "train/setup.h"

namespace tessera {
namespace {

constexpr const char* kFooter = R"(
Loss is in nats per token, the mean over all tokens that have one to predict; perplexity is its
exponential. Bits per byte = sum of the losses / (ln 2 x bytes of text that the predicted tokens
stand for). Loss by position tells how it falls with the text before a token: in its window, or in
its document with data.document_mask.

Examples:
  evaluate runs/mine runs/data/mine.h5
  evaluate runs/mine runs/data/mine.h5 --stride 512 --max-tokens 1M
  evaluate runs/mine runs/data/mine.h5 --context 8K --set model.rope.scaling=yarn \
    --set model.rope.factor=4 --set model.rope.original_context=2K --json mine_8k.json
)";

struct Arguments {
  std::filesystem::path checkpoint, tokens, json;
  Split split = Split::val;
  std::string context, stride, max_tokens;
  int64_t batch = 1;
  std::vector<std::string> overrides;
  DType precision = DType::f32;
  RunSection run;
};

void declare(CLI::App& app, Arguments& arguments) {
  app.footer(kFooter);
  app.add_option("CHECKPOINT", arguments.checkpoint,
                 "a run's folder, one of its checkpoints, a Hugging Face folder or a GGUF file")
      ->required();
  app.add_option("TOKENS", arguments.tokens, "a token file of the same tokenizer")->required();
  add_choice(app, "--split", arguments.split, {{"val", Split::val}, {"train", Split::train}},
             "the part of the token file");
  app.add_option("--context", arguments.context, "tokens of a window; by default the model's");
  app.add_option(
      "--stride", arguments.stride,
      "tokens from a window to the next; below the context they overlap, and a token is "
      "predicted once, with at least context - stride before it; by default the context");
  app.add_option("--batch", arguments.batch, "windows at a time")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--max-tokens", arguments.max_tokens,
                 "predict about so many, in batches spread over the split; 0 (default): all");
  app.add_option("--set", arguments.overrides,
                 "a key of the model's configuration that its weights leave open: model.rope.*, "
                 "model.sliding_window, attention.*, data.document_mask; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--json", arguments.json, "write the result to this file");
  add_precision_option(app, arguments.precision);
  add_device_options(app, arguments.run);
}

void check_tokenizer(const TokenFile& file, const LoadedModel& model, const Arguments& arguments) {
  if (model.tokenizer) {
    check(same_tokens(*file.tokenizer(), *model.tokenizer),
          "{} was prepared with tokenizer {} ({}), but {} was trained with {} ({}); prepare the "
          "text with the model's tokenizer",
          file.path().string(), file.tokenizer_name(), file.tokenizer_hash(),
          arguments.checkpoint.string(), model.tokenizer->name(), model.tokenizer->hash());
  }
  check_vocabulary(file, model.config.model.vocab_size);
}

// "4096", "64K", "1M"; `otherwise` where the option is not given.
int64_t token_count(const char* option, const std::string& text, int64_t otherwise) {
  if (text.empty()) return otherwise;
  int64_t count = 0;
  const auto problem = fields::parse_integer_as({text}, tokens(0), count);
  check(!problem, "{}: {}", option, problem.value_or(""));
  return count;
}

int64_t stride_of(const Arguments& arguments, const RunConfig& config) {
  const int64_t context = config.model.context;
  const int64_t stride = token_count("--stride", arguments.stride, context);
  check(stride >= 1 && stride <= context, "--stride {}: it is not between 1 and the context, {}",
        stride, context);
  return stride;
}

EvaluationReader open_reader(const Arguments& arguments, const RunConfig& config) {
  const int64_t stride = stride_of(arguments, config);
  const int64_t most = token_count("--max-tokens", arguments.max_tokens, 0);
  return EvaluationReader(
      {.files = {arguments.tokens},
       .split = arguments.split,
       .context = config.model.context,
       .stride = stride,
       .document_mask = config.data.document_mask,
       .batch = arguments.batch,
       .max_batches = most == 0 ? 0 : (most - 1) / (arguments.batch * stride) + 1});
}

Evaluation run_evaluation(Context& ctx, const LoadedModel& loaded, const TokenFile& file,
                          EvaluationReader& reader, StopSignal& stop) {
  ProgressLine line;
  return evaluate(ctx, loaded.model, reader, token_bytes(*file.tokenizer()),
                  loaded.config.memory.loss_chunk, [&](int64_t done) {
                    check(stop.received() == 0, "interrupted after {} of {} batches", done,
                          reader.batches());
                    line.show("batch {} of {}", done, reader.batches());
                  });
}

void print(const Evaluation& result, double seconds) {
  fmt::print("{} tokens in {} windows, {:.0f} tokens/s\n", result.targets, result.windows,
             double(result.targets) / seconds);
  fmt::print("loss {:.4f} nats per token, perplexity {:.3f}", result.loss(), result.perplexity());
  if (result.bytes > 0) fmt::print(", {:.4f} bits per byte", result.bits_per_byte());
  fmt::print("\n\n{:<20} {:>12} {:>10} {:>12}\n", "position", "tokens", "loss", "perplexity");
  for (const PositionBucket& bucket : result.positions) {
    if (bucket.targets == 0) continue;
    fmt::print("{:<20} {:>12} {:>10.4f} {:>12.3f}\n",
               fmt::format("[{}, {})", bucket.begin, bucket.end), bucket.targets, bucket.loss(),
               std::exp(bucket.loss()));
  }
}

nlohmann::ordered_json to_json(const Evaluation& result, const LoadedModel& loaded,
                               const Arguments& arguments) {
  nlohmann::ordered_json positions = nlohmann::ordered_json::array();
  for (const PositionBucket& bucket : result.positions) {
    if (bucket.targets == 0) continue;
    positions.push_back({{"begin", bucket.begin},
                         {"end", bucket.end},
                         {"tokens", bucket.targets},
                         {"loss", bucket.loss()}});
  }
  nlohmann::ordered_json json = {{"checkpoint", arguments.checkpoint.string()},
                                 {"step", loaded.step},
                                 {"token_file", arguments.tokens.string()},
                                 {"split", split_name(arguments.split)},
                                 {"context", loaded.config.model.context},
                                 {"stride", stride_of(arguments, loaded.config)},
                                 {"document_mask", loaded.config.data.document_mask},
                                 {"windows", result.windows},
                                 {"tokens", result.targets},
                                 {"bytes", result.bytes},
                                 {"loss", result.loss()},
                                 {"perplexity", result.perplexity()}};
  if (result.bytes > 0) json["bits_per_byte"] = result.bits_per_byte();
  json["positions"] = positions;
  return json;
}

void run(const Arguments& arguments) {
  StopSignal stop;  // first: before threads exist
  Context ctx(context_options(arguments.run));
  std::vector<std::string> overrides = arguments.overrides;
  if (!arguments.context.empty()) overrides.push_back("model.context=" + arguments.context);
  const TokenFile file(arguments.tokens);
  const LoadedModel loaded = load_model(ctx, arguments.checkpoint, arguments.precision, overrides);
  check_tokenizer(file, loaded, arguments);
  EvaluationReader reader = open_reader(arguments, loaded.config);
  std::optional<OutputFile> output;  // claimed before the work
  if (!arguments.json.empty()) output.emplace(arguments.json);
  const auto begin = std::chrono::steady_clock::now();
  const Evaluation result = run_evaluation(ctx, loaded, file, reader, stop);
  print(result, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  if (!output) return;
  write_text_file(output->temporary(), to_json(result, loaded, arguments).dump(2) + "\n");
  output->commit();
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  CLI::App app("Tell how well a model predicts a token file.", "evaluate");
  tessera::Arguments arguments;
  tessera::declare(app, arguments);
  return tessera::run_program(app, argc, argv, [&] { tessera::run(arguments); });
}
