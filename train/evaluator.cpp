#include "train/evaluator.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "train/step.h"

namespace tessera {
namespace {

constexpr int64_t kFirstBucket = 64;

size_t bucket_of(int64_t position) {
  return size_t(std::bit_width(uint64_t(position / kFirstBucket)));
}

std::vector<PositionBucket> empty_buckets(int64_t context) {
  std::vector<PositionBucket> buckets;
  for (int64_t begin = 0, end = kFirstBucket; begin < context; begin = end, end *= 2)
    buckets.push_back({.begin = begin, .end = std::min(end, context)});
  return buckets;
}

}  // namespace

double Evaluation::perplexity() const {
  return std::exp(loss());
}

double Evaluation::bits_per_byte() const {
  return bytes > 0 ? sum / (std::numbers::ln2 * double(bytes))
                   : std::numeric_limits<double>::infinity();
}

std::vector<int64_t> token_bytes(const Tokenizer& tokenizer) {
  std::vector<int64_t> lengths;
  std::string bytes;
  for (TokenId id = 0; id < tokenizer.vocabulary_size(); ++id) {
    bytes.clear();
    tokenizer.decode(id, bytes);
    lengths.push_back(int64_t(bytes.size()));
  }
  return lengths;
}

Evaluation evaluate(Context& ctx, const Llama& model, EvaluationReader& reader,
                    std::span<const int64_t> bytes_of_token, int64_t loss_chunk,
                    const std::function<void(int64_t)>& progress) {
  Evaluation result{.windows = reader.samples(),
                    .positions = empty_buckets(model.config().context)};
  int64_t batches = 0;
  for (Batch batch; reader.next(batch); progress(++batches)) {
    const std::vector<float> losses = token_losses(ctx, model, batch, loss_chunk);
    for (size_t i = 0; i < losses.size(); ++i) {
      if (batch.targets[i] == kIgnoreTarget) continue;
      check(std::isfinite(losses[i]),
            "the loss of token {} of batch {} is {}; the weights are damaged or training diverged",
            i, batches + 1, losses[i]);
      PositionBucket& bucket = result.positions[bucket_of(batch.positions[i])];
      ++bucket.targets;
      bucket.sum += double(losses[i]);
      result.bytes += bytes_of_token[size_t(batch.targets[i])];
    }
  }
  for (const PositionBucket& bucket : result.positions) {
    result.targets += bucket.targets;
    result.sum += bucket.sum;
  }
  check(result.targets > 0, "no token of the file has a target to evaluate");
  return result;
}

}  // namespace tessera
