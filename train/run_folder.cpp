#include "train/run_folder.h"

#include "core/files/file.h"
#include "core/files/output_file.h"
#include "train/setup.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// A run that failed before its first step left nothing worth keeping.
bool holds_run(const fs::path& folder) {
  std::error_code ignored;
  const fs::path metrics = folder / "metrics.jsonl";
  if (fs::exists(metrics, ignored) && fs::file_size(metrics, ignored) > 0) return true;
  for (const auto& entry : fs::directory_iterator(folder / "checkpoints", ignored))
    if (entry.path().filename().string().starts_with("step_")) return true;
  return false;
}

}  // namespace

fs::path prepare_run_folder(const RunConfig& config, bool resume) {
  const fs::path folder = config.run.output_dir;
  check(resume || !holds_run(folder),
        "{}: already holds a run; continue it with --resume, or choose another folder with --set "
        "run.output_dir=FOLDER",
        folder.string());
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, "{}: cannot be made: {}; choose another run.output_dir", folder.string(),
        error.message());
  return folder;
}

void write_resolved_config(const RunConfig& config) {
  OutputFile file(config.run.output_dir / "config.yaml");
  write_text_file(file.temporary(), to_yaml(config, Comments::help));
  file.commit();
}

std::optional<EvaluationReader> open_evaluation(const RunConfig& config) {
  if (config.evaluation.every == 0) return std::nullopt;
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
