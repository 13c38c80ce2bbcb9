// What a benchmark prints: a table for people, a JSON line a row for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/bench/measure.h"

namespace tessera::bench {

struct Row {
  std::string name;  // what was timed
  DType dtype = DType::f32;
  double flops = 0;  // of one call
  Measurement time;
  double bytes = 0;  // of one call, for memory_row()
};

class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  void heading(const Peaks& peaks, const std::string& text) const;
  // GFLOP/s, or TFLOP/s where the peaks are of that size, and the share of the peak in the row's
  // dtype. `extra` is added to the JSON object, which has GFLOP/s always.
  void row(const Row& row, const Peaks& peaks, const nlohmann::ordered_json& extra = {}) const;
  // A line for what was not measured, and why.
  void skipped(const std::string& name, const std::string& reason) const;
  // GB/s and the share of a copy's, for kernels that move data.
  void memory_heading(const Peaks& peaks, const std::string& text) const;
  void memory_row(const Row& row, const Peaks& peaks) const;
  bool json() const { return json_; }

 private:
  bool json_;
};

}  // namespace tessera::bench
