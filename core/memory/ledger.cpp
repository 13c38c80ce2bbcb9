#include "core/memory/ledger.h"

#include <algorithm>

namespace tessera {

void Ledger::add(MemoryTag tag, int64_t bytes) {
  book(tag, bytes);
}

void Ledger::remove(MemoryTag tag, int64_t bytes) {
  book(tag, -bytes);
}

void Ledger::move(MemoryTag from, MemoryTag to, int64_t bytes) {
  book(from, -bytes);
  book(to, bytes);
}

void Ledger::book(MemoryTag tag, int64_t bytes) {
  current_[size_t(tag)] += bytes;
  total_ += bytes;
  peak_by_tag_[size_t(tag)] = std::max(peak_by_tag_[size_t(tag)], current_[size_t(tag)]);
  if (total_ > peak_) {
    peak_ = total_;
    at_peak_ = current_;
  }
  if (recording_) timeline_.push_back({tag, bytes, total_});
}

void Ledger::reset_peak() {
  peak_ = total_;
  peak_by_tag_ = at_peak_ = current_;
}

}  // namespace tessera
