#include <algorithm>
#include <limits>

#include "core/check.h"
#include "data/batch_builder.h"
#include "data/loader.h"

namespace tessera {
namespace {

struct EvaluationFile {
  TokenFile file;
  uint64_t windows = 0;
};

// The files whose split holds a window; an Error that names the largest when there is none, and for
// files of different tokenizers, whose losses would be no mean of anything.
std::vector<EvaluationFile> open_files(const EvaluationConfig& config) {
  check(!config.files.empty(), "no token files to evaluate on");
  std::vector<EvaluationFile> files;
  const bool validation = config.split == Split::val;
  std::vector<TokenFile> all;
  for (const auto& path : config.files) {
    all.emplace_back(path);
    check_same_tokenizer(all.front(), all.back());
  }
  std::string longest;
  uint64_t most = 0;
  for (TokenFile& file : all) {
    const uint64_t tokens = file.token_count(config.split);
    if (longest.empty() || tokens > most) most = tokens, longest = file.path().string();
    if (tokens <= uint64_t(config.context)) continue;
    const uint64_t windows = (tokens - 1 - uint64_t(config.context)) / uint64_t(config.stride) + 1;
    files.push_back({std::move(file), windows});
  }
  check(!files.empty(),
        "{} has {} {} tokens, fewer than the {} of one sample (context {} + 1); prepare it with "
        "{}, use a shorter context or switch evaluation off",
        longest, most, validation ? "validation" : "training", config.context + 1, config.context,
        validation ? "a larger --val-fraction" : "more text");
  return files;
}

}  // namespace

struct EvaluationReader::Impl {
  explicit Impl(const EvaluationConfig& config) : config(config), files(open_files(config)) {
    for (const EvaluationFile& file : files) windows += file.windows;
    const uint64_t per_batch = uint64_t(config.batch) * uint64_t(config.ranks);
    batches = (windows + per_batch - 1) / per_batch;
    if (config.max_batches > 0) batches = std::min(batches, uint64_t(config.max_batches));
    samples = std::min(windows, batches * per_batch);
  }

  // Returns how many targets at the window's beginning an earlier window has.
  int64_t add(uint64_t sample, BatchBuilder& builder) {
    if (sample >= samples) {
      builder.add_padding();
      return 0;
    }
    auto window = uint64_t((unsigned __int128)sample * windows / samples);
    auto file = files.begin();
    while (window >= file->windows) window -= (file++)->windows;
    const uint64_t begin = window * uint64_t(config.stride);
    layout_range(file->file, config.split, {begin, begin + uint64_t(config.context) + 1},
                 config.document_mask, layout);
    builder.add(file->file, config.split, layout);
    return window == 0 ? 0 : config.context - config.stride;
  }

  EvaluationConfig config;
  std::vector<EvaluationFile> files;
  uint64_t windows = 0, batches = 0, samples = 0;
  uint64_t batch = 0;  // the next one's number
  SampleLayout layout;
};

EvaluationReader::EvaluationReader(const EvaluationConfig& config) {
  check(config.context >= 1 && config.batch >= 1 && config.max_batches >= 0,
        "evaluation needs a context and a batch of at least 1, not {} and {}", config.context,
        config.batch);
  check(config.batch <= std::numeric_limits<int32_t>::max() / config.context,
        "{} samples of {} tokens are more than a batch can hold, 2^31 - 1 tokens; use a smaller "
        "batch",
        config.batch, config.context);
  check(config.ranks >= 1 && config.rank >= 0 && config.rank < config.ranks,
        "rank {} of {} is out of range", config.rank, config.ranks);
  EvaluationConfig whole = config;
  if (whole.stride == 0) whole.stride = whole.context;
  check(whole.stride >= 1 && whole.stride <= whole.context,
        "a stride of {} tokens is not between 1 and the context, {}", whole.stride, whole.context);
  impl_ = std::make_unique<Impl>(whole);
}
EvaluationReader::~EvaluationReader() = default;
EvaluationReader::EvaluationReader(EvaluationReader&&) noexcept = default;

bool EvaluationReader::next(Batch& batch) {
  Impl& impl = *impl_;
  if (impl.batch == impl.batches) return false;
  const EvaluationConfig& config = impl.config;
  const uint64_t first =
      (impl.batch++ * uint64_t(config.ranks) + uint64_t(config.rank)) * uint64_t(config.batch);
  BatchBuilder builder(config.batch, config.context, config.document_mask);
  std::vector<int64_t> known(size_t(config.batch));
  for (int64_t i = 0; i < config.batch; ++i)
    known[size_t(i)] = impl.add(first + uint64_t(i), builder);
  batch = builder.finish();
  for (int64_t i = 0; i < config.batch; ++i)
    std::fill_n(batch.targets.begin() + i * config.context, known[size_t(i)], kIgnoreTarget);
  return true;
}

void EvaluationReader::rewind() {
  impl_->batch = 0;
}
int64_t EvaluationReader::batches() const {
  return int64_t(impl_->batches);
}
int64_t EvaluationReader::samples() const {
  return int64_t(impl_->samples);
}

}  // namespace tessera
