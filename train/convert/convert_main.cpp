// convert-checkpoint INPUT OUTPUT: between our checkpoints and the forms that others read.
#include <fmt/format.h>

#include <map>

#include "core/program/program.h"
#include "core/program/progress_line.h"
#include "train/convert/convert.h"

namespace tessera {
namespace {

struct Arguments {
  std::string input, output, to, type;
  ConvertOptions options;
};

void declare(CLI::App& app, Arguments& arguments) {
  app.footer(
      "Examples:\n"
      "  convert-checkpoint runs/quickstart quickstart-hf --dtype bf16\n"
      "  convert-checkpoint SmolLM2-135M smollm2 --to checkpoint\n"
      "  convert-checkpoint SmolLM2-135M smollm2.gguf --dtype q8_0\n"
      "  convert-checkpoint stories15M.bin stories15m --tokenizer tokenizer.model\n"
      "  convert-checkpoint Llama-3.2-1B llama --to huggingface --max-shard-size 1GB");
  app.add_option("INPUT", arguments.input,
                 "a run's folder, one of its checkpoints, a Hugging Face folder, a GGUF file or a "
                 "legacy .bin of llama2.c")
      ->required();
  app.add_option("OUTPUT", arguments.output, "what to write; it must not exist")->required();
  app.add_option(
         "--to", arguments.to,
         "the form of OUTPUT; by default GGUF for a name in .gguf, else Hugging Face from a "
         "checkpoint and a checkpoint from anything else")
      ->check(CLI::IsMember(model_forms_written()));
  app.add_option("--dtype", arguments.type,
                 "of the weights; by default as in INPUT; q8_0 for GGUF only")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0"}));
  app.add_option("--max-shard-size", arguments.options.max_shard_bytes,
                 "of one safetensors file: a number of bytes, or with KB, MB, GB")
      ->transform(CLI::AsSizeValue(true))
      ->default_str("5GB");
  app.add_option("--tokenizer", arguments.options.tokenizer,
                 "for an INPUT that carries none (GGUF files of others, llama2.c): a "
                 "tokenizer.json, a SentencePiece .model or a folder with one of them");
}

void run(Arguments& arguments) {
  if (!arguments.to.empty()) arguments.options.to = model_form_named(arguments.to);
  if (!arguments.type.empty()) arguments.options.type = stored_type_named(arguments.type);
  ProgressLine line;
  const ConvertSummary summary = convert_model(
      arguments.input, arguments.output, arguments.options, [&](uint64_t done, uint64_t total) {
        line.show("{:5.1f}% of {:.2f} GB", 100.0 * double(done) / double(total),
                  double(total) * 1e-9);
      });
  line.clear();
  if (!summary.tokenizer_problem.empty())
    fmt::print(stderr, "no tokenizer was converted: {}\n", summary.tokenizer_problem);
  for (const std::string& limit : summary.gguf_limits)
    fmt::print(stderr, "note on llama.cpp: {}\n", limit);
  fmt::print("{}: {} in {}, {} weights, {} parameters, {} bytes in {:.1f} s\n", arguments.output,
             name_of(summary.to), name_of(summary.type), summary.tensors, summary.parameters,
             summary.bytes, line.seconds());
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  CLI::App app("Convert a model between checkpoints and the forms of other programs.",
               "convert-checkpoint");
  tessera::Arguments arguments;
  tessera::declare(app, arguments);
  return tessera::run_program(app, argc, argv, [&] { tessera::run(arguments); });
}
