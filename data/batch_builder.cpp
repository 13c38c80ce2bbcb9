#include "data/batch_builder.h"

#include <algorithm>
#include <numeric>

namespace tessera {

BatchBuilder::BatchBuilder(int64_t samples, int64_t context, bool document_mask)
    : document_mask_(document_mask), tokens_(size_t(context) + 1) {
  batch_.samples = samples;
  batch_.context = context;
  for (auto* values : {&batch_.tokens, &batch_.targets, &batch_.positions}) {
    values->reserve(size_t(samples * context));
  }
}

void BatchBuilder::add(TokenFile& file, Split split, const SampleLayout& layout) {
  size_t filled = 0;
  for (const TokenRange& piece : layout.pieces) {
    file.read(split, piece.begin, std::span(tokens_).subspan(filled, piece.size()));
    filled += piece.size();
  }
  const size_t row = batch_.tokens.size();
  begin_row();
  batch_.tokens.insert(batch_.tokens.end(), tokens_.begin(), tokens_.end() - 1);
  batch_.targets.insert(batch_.targets.end(), tokens_.begin() + 1, tokens_.end());
  if (file.has_loss_mask(split)) apply_loss_mask(file, split, layout, row);
  if (!document_mask_) return;
  for (int64_t start : layout.starts) {
    batch_.targets[row + size_t(start) - 1] = kIgnoreTarget;
    if (start == batch_.context) continue;
    batch_.cu_seqlens.push_back(int32_t(row) + int32_t(start));
    std::iota(batch_.positions.begin() + int64_t(row) + start, batch_.positions.end(), 0);
  }
}

void BatchBuilder::apply_loss_mask(TokenFile& file, Split split, const SampleLayout& layout,
                                   size_t row) {
  mask_.resize(tokens_.size());
  size_t filled = 0;
  for (const TokenRange& piece : layout.pieces) {
    file.read_loss_mask(split, piece.begin, std::span(mask_).subspan(filled, piece.size()));
    filled += piece.size();
  }
  for (size_t i = 1; i < mask_.size(); ++i) {
    if (mask_[i] == 0) batch_.targets[row + i - 1] = kIgnoreTarget;
  }
}

void BatchBuilder::add_padding() {
  begin_row();
  batch_.tokens.resize(batch_.tokens.size() + size_t(batch_.context), 0);
  batch_.targets.resize(batch_.tokens.size(), kIgnoreTarget);
}

Batch BatchBuilder::finish() {
  if (document_mask_) batch_.cu_seqlens.push_back(int32_t(batch_.tokens.size()));
  return std::move(batch_);
}

void BatchBuilder::begin_row() {
  const size_t row = batch_.positions.size();
  batch_.positions.resize(row + size_t(batch_.context));
  std::iota(batch_.positions.begin() + int64_t(row), batch_.positions.end(), 0);
  if (document_mask_) batch_.cu_seqlens.push_back(int32_t(row));
}

void layout_range(TokenFile& file, Split split, TokenRange range, bool document_mask,
                  SampleLayout& layout) {
  layout.clear();
  layout.pieces.push_back(range);
  if (!document_mask) return;
  std::vector<uint64_t> starts;
  file.document_starts(split, range, starts);
  for (uint64_t start : starts) layout.starts.push_back(int64_t(start - range.begin));
}

}  // namespace tessera
