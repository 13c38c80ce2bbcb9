// The folder of a run: what must hold before it is written to, and the files at its top.
#pragma once

#include <filesystem>
#include <optional>

#include "data/loader.h"
#include "train/config.h"

namespace tessera {

// Makes run.output_dir if needed and returns it. Throws Error when it cannot be made, or already
// holds a run and `resume` is false.
std::filesystem::path prepare_run_folder(const RunConfig& config, bool resume);

// Writes config.yaml, whole or not at all: every key, with its meaning.
void write_resolved_config(const RunConfig& config);

// The reader of the sources' val splits; none where evaluation is off.
std::optional<EvaluationReader> open_evaluation(const RunConfig& config);

}  // namespace tessera
