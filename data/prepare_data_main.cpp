// prepare-data: text files to an HDF5 token file.
#include <cstring>

#include "core/program/choice_option.h"
#include "core/program/program.h"
#include "core/program/progress_line.h"
#include "core/program/stop_signal.h"
#include "data/chat_template.h"
#include "data/prepare.h"

namespace {

using namespace tessera;

constexpr const char* kFooter = R"(
Each file is one document; in .jsonl files each line is one. Hidden files in folders are left out.
A pipe, such as /dev/stdin, gives its text once: what learns from the text first needs files.

Examples:
  prepare-data --tokenizer char --split tail -o shakespeare.h5 shakespeare.txt
  prepare-data --tokenizer byte --glob '*.cpp,*.h,*.md' -o sources.h5 ~/project
  prepare-data --tokenizer byte --field text --val-fraction 0.01 -o web.h5 'crawl/*.jsonl'
  prepare-data --tokenizer ~/models/SmolLM2-135M -o books.h5 ~/books
  prepare-data --train-tokenizer bpe --vocab-size 8000 --save-tokenizer tokenizer.json \
    -o books.h5 ~/books
  prepare-data --tokenizer byte --template plain -o chat.h5 questions.jsonl

With --template each line of the .jsonl files is a conversation, and only the responses carry loss:
{"prompt": ..., "response": ...}, {"messages": [{"role": ..., "content": ...}, ...]} or
{"conversations": [{"from": ..., "value": ...}, ...]}.
)";

void show(ProgressLine& line, const PrepareProgress& progress) {
  const double percent =
      100.0 * double(progress.bytes) / double(std::max<uint64_t>(1, progress.total_bytes));
  line.show("{} {:.1f} of {:.1f} MB ({:.0f}%), {} tokens, {:.0f} s", progress.stage,
            double(progress.bytes) * 1e-6, double(progress.total_bytes) * 1e-6, percent,
            progress.tokens, line.seconds());
}

void print_summary(const PrepareConfig& config, const PrepareSummary& summary, double seconds) {
  const auto line = [](const char* name, const PrepareSummary::Part& part) {
    fmt::print("{:<11}{} documents, {} tokens\n", name, part.documents, part.tokens);
  };
  const double megabytes = double(summary.bytes) * 1e-6;
  fmt::print("{:<11}{} ({:.1f} MB)\n", "output", config.output.string(),
             double(std::filesystem::file_size(config.output)) * 1e-6);
  fmt::print("{:<11}{}, vocabulary {}, hash {}\n", "tokenizer", summary.tokenizer,
             summary.vocabulary_size, summary.tokenizer_hash);
  line("train", summary.train);
  line("val", summary.val);
  if (config.instruction) {
    const uint64_t loss = summary.train.loss_tokens + summary.val.loss_tokens;
    const uint64_t all = summary.train.tokens + summary.val.tokens;
    fmt::print("{:<11}on {} of {} tokens ({:.1f}%): responses, template {}\n", "loss", loss, all,
               100.0 * double(loss) / double(all), config.instruction->chat_template);
  }
  fmt::print("{:<11}{} files, {:.1f} MB of text in {:.1f} s, {:.1f} MB/s\n", "input", summary.files,
             megabytes, seconds, megabytes / std::max(seconds, 1e-9));
}

// Either a tokenizer that exists or one to be trained.
void declare_training(CLI::App& app, PrepareConfig& config) {
  CLI::Option* size = app.add_option("--vocab-size", config.train_vocabulary,
                                     "ids of the tokenizer to train, 257 or more");
  app.add_option("--train-tokenizer", "learn a tokenizer from the text: bpe (byte-level BPE)")
      ->check(CLI::IsMember({"bpe"}))
      ->needs(size)
      ->excludes("--tokenizer");
  size->needs("--train-tokenizer")->check(CLI::Range(257, 1 << 24));
  app.add_option("--save-tokenizer", config.save_tokenizer,
                 "the tokenizer.json to write as well, for Hugging Face's libraries");
}

void declare(CLI::App& app, InstructionConfig& instruction) {
  CLI::Option* name =
      app.add_option("--template", instruction.chat_template,
                     "lines of .jsonl files are conversations, written in this form")
          ->check(CLI::IsMember(chat_template_names()));
  app.add_option("--prompt-field", instruction.fields.prompt, "field of a line without messages")
      ->capture_default_str()
      ->needs(name);
  app.add_option("--response-field", instruction.fields.response, "field of the response to it")
      ->capture_default_str()
      ->needs(name);
}

void declare(CLI::App& app, PrepareConfig& config) {
  app.footer(kFooter);
  app.add_option("INPUT", config.corpus.inputs, "files, folders (searched recursively) or globs")
      ->required();
  app.add_option("-o,--output", config.output, "the token file to write (HDF5)")->required();
  app.add_option("-t,--tokenizer", config.tokenizer,
                 fmt::format("{}, a tokenizer.json, a SentencePiece .model or a folder with one",
                             fmt::join(tokenizer_names(), ", ")));
  declare_training(app, config);
  app.add_option("-g,--glob", config.corpus.patterns, "files to take from folders: '*.cpp,*.md'")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--field", config.corpus.field, "field of a .jsonl line that holds the text")
      ->capture_default_str();
  app.add_option("--val-fraction", config.val_fraction, "share set aside for validation, [0, 1)")
      ->capture_default_str();
  add_choice(app, "--split", config.split,
             {{"documents", SplitRule::documents}, {"tail", SplitRule::tail}},
             "documents: each is drawn for training or validation; tail: the end of the whole text "
             "is for validation");
  app.add_option("--seed", config.seed, "of the draw of documents")->capture_default_str();
}

void run(const PrepareConfig& config) {
  check(!config.tokenizer.empty() || config.train_vocabulary > 0,
        "--tokenizer is required, or --train-tokenizer with --vocab-size");
  StopSignal stop;
  ProgressLine line;
  const PrepareSummary summary = prepare(config, [&](const PrepareProgress& progress) {
    check(stop.received() == 0, "interrupted by {}; nothing was written",
          strsignal(stop.received()));
    show(line, progress);
  });
  line.clear();
  print_summary(config, summary, line.seconds());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Turn text into a token file (HDF5) for training.", "prepare-data");
  PrepareConfig config;
  InstructionConfig instruction;
  declare(app, config);
  declare(app, instruction);
  return run_program(app, argc, argv, [&] {
    if (!instruction.chat_template.empty()) config.instruction = instruction;
    run(config);
  });
}
