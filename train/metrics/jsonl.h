// metrics.jsonl: one JSON object a line.
#pragma once

#include <filesystem>

#include "core/files/file.h"
#include "train/metrics/record.h"

namespace tessera {

class MetricsFile {
 public:
  // Opens FILE for appending. Lines of steps after `last_step` are dropped first: a resumed run
  // writes them again.
  MetricsFile(const std::filesystem::path& path, int64_t last_step);

  void write(const StepRecord& record);
  void write(const EvaluationRecord& record);

 private:
  void append(const std::string& line);

  File file_;
  uint64_t size_ = 0;  // of the whole lines
};

}  // namespace tessera
