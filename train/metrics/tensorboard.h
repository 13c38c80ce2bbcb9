// tensorboard/events.out.tfevents.*: the scalars of a run, as TensorBoard reads them.
#pragma once

#include <filesystem>
#include <string_view>

#include "core/files/file.h"
#include "train/metrics/record.h"

namespace tessera {

class TensorBoardFile {
 public:
  // A new file in `folder`, which is made if it is not there. What files of an earlier part of the
  // run tell of steps after `last_step` is hidden: a resumed run writes them again.
  TensorBoardFile(const std::filesystem::path& folder, int64_t last_step);

  void write(const StepRecord& record);
  void write(const EvaluationRecord& record);

 private:
  void append(std::string_view event);

  File file_;
  uint64_t size_ = 0;  // of the whole records
};

}  // namespace tessera
