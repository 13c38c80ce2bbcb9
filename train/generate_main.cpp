// generate CHECKPOINT: continues prompts.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/files/file.h"
#include "core/files/output_file.h"
#include "core/program/program.h"
#include "data/chat_template.h"
#include "train/device_options.h"
#include "train/generator.h"
#include "train/load_model.h"
#include "train/setup.h"

namespace tessera {
namespace {

constexpr const char* kFooter = R"(
With --prompts, prompts are continued several at a time, and each gives a line of JSON, in their
order: {"prompt", "text", "prompt_tokens", "tokens", "stopped"}. A prompt's text depends on the seed
and the prompt, not on the others.

Examples:
  generate runs/quickstart --prompt 'The ' --max-tokens 200 --temperature 0.8 --top-k 40
  generate runs/quickstart --prompts questions.txt --output answers.jsonl --temperature 0
  generate runs/chat --chat chatml --prompt 'What is a tessera?'
)";

struct Arguments {
  std::string checkpoint, prompt, chat, system;
  std::filesystem::path prompts, output, tokenizer;
  std::string prompt_field = "prompt";
  GenerateOptions options;
  DType precision = DType::f32;
  RunSection run;
};

// CLI11's comparisons let NaN pass.
const auto kFinite = [](const std::string& text) {
  return std::string(std::isfinite(std::strtod(text.c_str(), nullptr)) ? "" : "must be finite");
};

void declare_sampling(CLI::App& app, GenerateOptions& options) {
  app.add_option("-n,--max-tokens", options.max_tokens, "tokens to generate at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("-t,--temperature", options.sampler.temperature, "0: always the likeliest token")
      ->check(kFinite)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--top-k", options.sampler.top_k, "only the k likeliest tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--top-p", options.sampler.top_p,
                 "only the likeliest that together reach this probability, (0, 1]")
      ->check(kFinite)
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  app.add_option("--seed", options.sampler.seed, "the same seed gives the same text")
      ->capture_default_str();
  app.add_option("--stop", options.stop, "end before this text; may be repeated")
      ->allow_extra_args(false)
      ->check([](const std::string& text) {
        return std::string(text.empty() ? "must not be empty" : "");
      });
}

void declare_prompts(CLI::App& app, Arguments& arguments) {
  CLI::Option* prompt = app.add_option("-p,--prompt", arguments.prompt, "the text to continue");
  CLI::Option* file =
      app.add_option("--prompts", arguments.prompts,
                     "a file of prompts: one a line, or a field of each line of a .jsonl file")
          ->excludes(prompt);
  app.add_option("--prompt-field", arguments.prompt_field, "the field of a .jsonl line")
      ->capture_default_str()
      ->needs(file);
  app.add_option("--output", arguments.output, "write the lines of JSON here; by default: print")
      ->needs(file);
  app.add_option("--batch", arguments.options.batch, "prompts that are continued together")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str()
      ->needs(file);
  CLI::Option* chat =
      app.add_option("--chat", arguments.chat,
                     "a prompt is what a user says in this template, and generation ends with the "
                     "answer")
          ->check(CLI::IsMember(chat_template_names()));
  app.add_option("--system", arguments.system, "the system message before it")->needs(chat);
}

void declare(CLI::App& app, Arguments& arguments) {
  app.footer(kFooter);
  app.add_option("CHECKPOINT", arguments.checkpoint,
                 "a run's folder, one of its checkpoints, a Hugging Face folder, a GGUF file or a "
                 "legacy .bin of llama2.c")
      ->required();
  declare_prompts(app, arguments);
  declare_sampling(app, arguments.options);
  app.add_option("--tokenizer", arguments.tokenizer,
                 "for a model that carries none: a tokenizer.json, a SentencePiece .model or a "
                 "folder with one of them");
  add_precision_option(app, arguments.precision);
  add_device_options(app, arguments.run);
}

std::string prompt_field_of(const std::string& line, const std::string& field,
                            const std::string& where) {
  try {
    const auto json = nlohmann::json::parse(line);
    check(json.is_object() && json.contains(field) && json.at(field).is_string(),
          "{}: no text field '{}'; name another with --prompt-field", where, field);
    return json.at(field).get<std::string>();
  } catch (const nlohmann::json::exception& e) {
    fail("{}: not JSON: {}", where, e.what());
  }
}

// Lines that are empty are passed over.
std::vector<std::string> read_prompts(const Arguments& arguments) {
  const std::string name = arguments.prompts.string();
  std::ifstream in(arguments.prompts);
  check(in.is_open() && !std::filesystem::is_directory(arguments.prompts),
        "--prompts: {} cannot be read", name);
  std::vector<std::string> prompts;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    prompts.push_back(
        arguments.prompts.extension() == ".jsonl"
            ? prompt_field_of(line, arguments.prompt_field, fmt::format("{}:{}", name, number))
            : line);
  }
  check(!prompts.empty(), "--prompts: {} has no prompt", name);
  return prompts;
}

// Tokens of prompts, as they stand or in the chat template.
class PromptEncoder {
 public:
  PromptEncoder(const Arguments& arguments, const Tokenizer& tokenizer)
      : tokenizer_(tokenizer), system_(arguments.system) {
    if (!arguments.chat.empty()) chat_.emplace(arguments.chat, tokenizer);
  }

  std::optional<TokenId> end_of_turn() const {
    return chat_ ? std::optional(chat_->end_of_turn()) : std::nullopt;
  }

  std::vector<TokenId> encode(const std::string& prompt) const {
    if (!chat_) return encode_prompt(tokenizer_, prompt);
    Conversation conversation;
    if (!system_.empty()) conversation.push_back({Role::system, system_});
    conversation.push_back({Role::user, prompt});
    return chat_->prompt(conversation);
  }

 private:
  const Tokenizer& tokenizer_;
  std::string system_;
  std::optional<ChatTemplate> chat_;
};

void report(const GenerateTimes& times, size_t prompts, int64_t step) {
  const auto rate = [](int64_t tokens, double seconds) {
    return seconds > 0 ? double(tokens) / seconds : 0.0;
  };
  fmt::print(stderr,
             "{} {} of {} tokens, {:.0f} tokens/s; {} tokens generated after the "
             "first of each, {:.0f} tokens/s; step {}\n",
             prompts, prompts == 1 ? "prompt" : "prompts", times.prompt_tokens,
             rate(times.prompt_tokens, times.prompt_seconds), times.tokens,
             rate(times.tokens, times.token_seconds), step);
}

nlohmann::ordered_json to_json(const std::string& prompt, const std::string& text,
                               const Generated& result) {
  return {{"prompt", prompt},
          {"text", text},
          {"prompt_tokens", result.prompt_tokens},
          {"tokens", result.tokens},
          {"stopped", result.stopped}};
}

void continue_one(Context& ctx, const LoadedModel& loaded, const Arguments& arguments,
                  const std::vector<TokenId>& prompt, const GenerateOptions& options) {
  if (arguments.chat.empty()) fmt::print("{}", arguments.prompt);
  GenerateTimes times;
  generate(
      ctx, loaded.model, *loaded.tokenizer, std::span(&prompt, 1), options,
      [](size_t, std::string_view text) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
      },
      &times);
  fmt::print("\n");
  std::fflush(stdout);  // before the report, where both go to one file
  report(times, 1, loaded.step);
}

void continue_file(Context& ctx, const LoadedModel& loaded, const Arguments& arguments,
                   const std::vector<std::string>& prompts, const PromptEncoder& encoder,
                   const GenerateOptions& options) {
  std::vector<std::vector<TokenId>> ids;
  for (const std::string& prompt : prompts) ids.push_back(encoder.encode(prompt));
  std::optional<OutputFile> output;  // claimed before the work
  if (!arguments.output.empty()) output.emplace(arguments.output);
  std::vector<std::string> texts(prompts.size());
  GenerateTimes times;
  const std::vector<Generated> results = generate(
      ctx, loaded.model, *loaded.tokenizer, ids, options,
      [&](size_t prompt, std::string_view text) { texts[prompt] += text; }, &times);
  std::string lines;
  for (size_t i = 0; i < results.size(); ++i)
    lines += to_json(prompts[i], texts[i], results[i])
                 .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
             "\n";
  if (output) {
    write_text_file(output->temporary(), lines);
    output->commit();
  } else {
    fmt::print("{}", lines);
  }
  report(times, prompts.size(), loaded.step);
}

// Before the weights are read, which may take long.
ModelSource open_with_tokenizer(const Arguments& arguments) {
  ModelSource source = open_model(arguments.checkpoint);
  if (!arguments.tokenizer.empty()) give_tokenizer(source, arguments.tokenizer);
  check(source.tokenizer != nullptr, "{}; give one with --tokenizer", source.tokenizer_problem);
  return source;
}

void run(const Arguments& arguments) {
  const bool many = !arguments.prompts.empty();
  const std::vector<std::string> prompts =
      many ? read_prompts(arguments) : std::vector<std::string>{arguments.prompt};
  Context ctx(context_options(arguments.run));
  const LoadedModel loaded = load_model(ctx, open_with_tokenizer(arguments), arguments.precision);
  const PromptEncoder encoder(arguments, *loaded.tokenizer);
  GenerateOptions options = arguments.options;
  options.end_tokens = loaded.end_tokens;
  if (const auto end = encoder.end_of_turn()) options.end_tokens.push_back(*end);
  if (many) return continue_file(ctx, loaded, arguments, prompts, encoder, options);
  continue_one(ctx, loaded, arguments, encoder.encode(arguments.prompt), options);
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  CLI::App app("Continue prompts with a trained model.", "generate");
  tessera::Arguments arguments;
  tessera::declare(app, arguments);
  return tessera::run_program(app, argc, argv, [&] { tessera::run(arguments); });
}
