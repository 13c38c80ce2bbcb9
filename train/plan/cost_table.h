// Kernel calls added up by name: what `plan` and `bench step` print.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "core/context.h"

namespace tessera {

class CostTable final : public KernelLog {
 public:
  // `settle` waits for a kernel's end, so that its time is its own.
  explicit CostTable(std::function<void()> settle = {}) : settle_(std::move(settle)) {}

  struct Row {
    int64_t calls = 0;
    double flops = 0, bytes = 0, seconds = 0;
  };

  void begin(std::string_view scope, std::string_view kernel, const KernelCost& cost) override;
  void end() override;

  const std::map<std::string, Row, std::less<>>& rows() const { return rows_; }
  Row total() const;
  void clear() { rows_.clear(); }

 private:
  using Clock = std::chrono::steady_clock;
  std::function<void()> settle_;
  std::map<std::string, Row, std::less<>> rows_;
  Row* open_ = nullptr;
  int depth_ = 0;  // kernels inside a kernel belong to the outer one
  Clock::time_point begin_;
};

}  // namespace tessera
