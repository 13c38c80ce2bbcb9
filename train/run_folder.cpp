#include "train/run_folder.h"

#include <fstream>

#include "train/setup.h"

namespace tessera {

std::filesystem::path prepare_run_folder(const RunConfig& config, bool resume) {
  const std::filesystem::path folder = config.run.output_dir;
  const bool holds_run = std::filesystem::exists(folder / "metrics.jsonl");
  check(!holds_run || resume,
        "{}: already holds a run; continue it with --resume, or choose another folder with --set "
        "run.output_dir=FOLDER",
        folder.string());
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  check(!error, "{}: cannot be made: {}; choose another run.output_dir", folder.string(),
        error.message());
  return folder;
}

void write_resolved_config(const RunConfig& config) {
  const std::filesystem::path path = config.run.output_dir / "config.yaml";
  std::ofstream out(path, std::ios::trunc);
  out << to_yaml(config, Comments::help) << std::flush;
  check(out.good(), "{}: cannot be written; is the folder writable and the disk not full?",
        path.string());
}

EvaluationReader open_evaluation(const RunConfig& config) {
  EvaluationConfig evaluation;
  for (const WeightedFile& file : loader_config(config).files)
    evaluation.files.push_back(file.path);
  evaluation.context = config.model.context;
  evaluation.document_mask = config.data.document_mask;
  evaluation.batch = config.training.batch;
  evaluation.max_batches = config.evaluation.batches;
  return EvaluationReader(evaluation);
}

}  // namespace tessera
