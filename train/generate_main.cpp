// generate CHECKPOINT: continues a prompt.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <map>

#include "core/program/program.h"
#include "train/device_option.h"
#include "train/generator.h"
#include "train/load_model.h"
#include "train/setup.h"

namespace tessera {
namespace {

struct Arguments {
  std::string checkpoint, prompt;
  GenerateOptions options;
  DType precision = DType::f32;
  RunSection run;
};

void declare(CLI::App& app, Arguments& arguments) {
  GenerateOptions& options = arguments.options;
  app.footer(
      "Example:\n  generate runs/quickstart --prompt 'The ' --max-tokens 200 --temperature 0.8 "
      "--top-k 40");
  app.add_option("CHECKPOINT", arguments.checkpoint,
                 "a run's folder, one of its checkpoints, a Hugging Face folder or a GGUF file")
      ->required();
  app.add_option("-p,--prompt", arguments.prompt, "the text to continue");
  app.add_option("-n,--max-tokens", options.max_tokens, "tokens to generate at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("-t,--temperature", options.sampler.temperature, "0: always the likeliest token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--top-k", options.sampler.top_k, "only the k likeliest tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--top-p", options.sampler.top_p,
                 "only the likeliest that together reach this probability, (0, 1]")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  app.add_option("--seed", options.sampler.seed, "the same seed gives the same text")
      ->capture_default_str();
  app.add_option("--stop", options.stop, "end before this text; may be repeated")
      ->allow_extra_args(false)
      ->check([](const std::string& text) {
        return std::string(text.empty() ? "must not be empty" : "");
      });
  app.add_option("--precision", arguments.precision, "of weights and activations")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, DType>{{"fp32", DType::f32}, {"bf16", DType::bf16}}));
  add_device_option(app, arguments.run);
  app.add_option("--threads", arguments.run.threads, "0: one for each core")
      ->check(CLI::Range(0, 4096));
}

void run(const Arguments& arguments) {
  Context ctx(context_options(arguments.run));
  const LoadedModel loaded = load_model(ctx, arguments.checkpoint, arguments.precision);
  check(loaded.tokenizer != nullptr, "{}: it has no tokenizer that is known", arguments.checkpoint);
  fmt::print("{}", arguments.prompt);
  const auto begin = std::chrono::steady_clock::now();
  const Generated result = generate(ctx, loaded.model, *loaded.tokenizer, arguments.prompt,
                                    arguments.options, [](std::string_view text) {
                                      std::fwrite(text.data(), 1, text.size(), stdout);
                                      std::fflush(stdout);
                                    });
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  fmt::print("\n");
  fmt::print(stderr, "{} tokens after a prompt of {}, {:.0f} tokens/s, step {}\n", result.tokens,
             result.prompt_tokens, double(result.tokens) / seconds, loaded.step);
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  CLI::App app("Continue a prompt with a trained model.", "generate");
  tessera::Arguments arguments;
  tessera::declare(app, arguments);
  return tessera::run_program(app, argc, argv, [&] { tessera::run(arguments); });
}
