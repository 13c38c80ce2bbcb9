// Rows of a batch from a token file.
#pragma once

#include "data/loader.h"
#include "data/sample_order.h"

namespace tessera {

// Collects the rows of one batch, [samples, context].
class BatchBuilder {
 public:
  BatchBuilder(int64_t samples, int64_t context, bool document_mask);

  // Reads the next row. Only with document_mask are layout.starts looked at.
  void add(TokenFile& file, Split split, const SampleLayout& layout);
  // A row that predicts nothing.
  void add_padding();

  Batch finish();

 private:
  void begin_row();
  // Ignores the targets of the row from `row` on that carry no loss.
  void apply_loss_mask(TokenFile& file, Split split, const SampleLayout& layout, size_t row);

  Batch batch_;
  bool document_mask_;
  std::vector<int32_t> tokens_;  // of one sample: [context + 1]
  std::vector<uint8_t> mask_;    // the same tokens'; used where the file has loss masks
};

// The layout of one unbroken range, with its documents' starts if they are wanted.
void layout_range(TokenFile& file, Split split, TokenRange range, bool document_mask,
                  SampleLayout& layout);

}  // namespace tessera
