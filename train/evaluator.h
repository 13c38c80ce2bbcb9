// How well a model predicts a token file: in all, and by how much text it sees.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "data/loader.h"
#include "model/llama.h"

namespace tessera {

// Losses of the targets whose predicting token has a position in [begin, end): how many tokens of
// its window, or of its document with a document mask, stand before it.
struct PositionBucket {
  int64_t begin = 0, end = 0;
  int64_t targets = 0;
  double sum = 0;  // of losses, in nats

  double loss() const { return sum / double(targets); }
};

struct Evaluation {
  int64_t windows = 0;
  int64_t targets = 0;
  double sum = 0;     // of losses, in nats
  int64_t bytes = 0;  // of the text that the targets stand for; special tokens stand for none
  std::vector<PositionBucket> positions;  // [0, 64), then doubling; the last ends at the context

  double loss() const { return sum / double(targets); }  // nats per token
  double perplexity() const;
  // sum / (ln 2 * bytes): what does not depend on the tokenizer. Infinite without bytes.
  double bits_per_byte() const;
};

// Bytes of text of every id.
std::vector<int64_t> token_bytes(const Tokenizer& tokenizer);

// Goes through `reader` from its present place to its end. `progress` hears how many batches are
// done and may throw to stop. Throws Error when there is no target, or a loss is not finite.
Evaluation evaluate(Context& ctx, const Llama& model, EvaluationReader& reader,
                    std::span<const int64_t> bytes_of_token, int64_t loss_chunk,
                    const std::function<void(int64_t)>& progress);

}  // namespace tessera
