// train CONFIG.yaml: trains a model as the configuration says.
#include <fmt/format.h>

#include <csignal>

#include "core/program/program.h"
#include "train/trainer.h"

int main(int argc, char** argv) {
  using namespace tessera;
  CLI::App app("Train a Llama-style model as a YAML file says.", "train");
  app.footer(
      "Example:\n  train configs/quickstart.yaml --set training.steps=200 --set "
      "run.output_dir=runs/try\n"
      "  train configs/quickstart.yaml --resume\nKeys, defaults and meanings: train --keys");
  std::string path;
  std::vector<std::string> overrides;
  bool resume = false, print_config = false, schema = false, keys = false;
  app.add_option("CONFIG", path, "the run's YAML file");
  app.add_option("--set", overrides, "section.key=value, on top of the file; may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--resume", resume, "continue from the newest good checkpoint of the run's folder");
  app.add_flag("--print-config", print_config,
               "print every key with its value and meaning, and exit");
  app.add_flag("--schema", schema, "print the JSON Schema of configuration files, and exit");
  app.add_flag("--keys", keys, "print what each key means, and exit");
  return run_program(app, argc, argv, [&] {
    if (schema) return fmt::print("{}\n", config_schema<RunConfig>("Tessera run configuration"));
    if (keys) return fmt::print("{}", config_help<RunConfig>());
    check(!path.empty(), "no configuration given; see train --help");
    const ConfigUse use = resume ? ConfigUse::resume : ConfigUse::train;
    const RunConfig config = load_run_config(path, overrides, print_config ? ConfigUse::plan : use);
    if (print_config) return fmt::print("{}", to_yaml(config, Comments::help));
    // A dead reader of the output (Ctrl-C ends tee as well) must not end the run unsaved.
    std::signal(SIGPIPE, SIG_IGN);
    Trainer(config, resume).run();
  });
}
