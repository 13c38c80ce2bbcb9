#include "train/plan/cost_table.h"

namespace tessera {

void CostTable::begin(std::string_view, std::string_view kernel, const KernelCost& cost) {
  if (depth_++ > 0) return;
  open_ = &rows_.try_emplace(std::string(kernel)).first->second;
  ++open_->calls;
  open_->flops += cost.flops;
  open_->bytes += cost.bytes;
  begin_ = Clock::now();
}

void CostTable::end() {
  if (--depth_ > 0) return;
  if (settle_) settle_();
  open_->seconds += std::chrono::duration<double>(Clock::now() - begin_).count();
}

CostTable::Row CostTable::total() const {
  Row sum;
  for (const auto& [name, row] : rows_) {
    sum.calls += row.calls;
    sum.flops += row.flops;
    sum.bytes += row.bytes;
    sum.seconds += row.seconds;
  }
  return sum;
}

}  // namespace tessera
