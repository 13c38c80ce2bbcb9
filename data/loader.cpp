#include "data/loader.h"

#include <hdf5.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/check.h"
#include "data/batch_builder.h"
#include "data/prefetcher.h"
#include "data/sample_order.h"

namespace tessera {
namespace {

void check_config(const LoaderConfig& config) {
  check(config.context >= 1, "the context is {}; it must be at least 1", config.context);
  check(config.ranks >= 1 && config.rank >= 0 && config.rank < config.ranks,
        "rank {} of {} is out of range", config.rank, config.ranks);
  check(config.samples_per_step >= 1 && config.samples_per_step % config.ranks == 0,
        "{} samples per step cannot be shared by {} ranks; use a multiple", config.samples_per_step,
        config.ranks);
  const int64_t samples = config.samples_per_step / config.ranks;
  check(samples <= std::numeric_limits<int32_t>::max() / config.context,
        "{} samples of {} tokens are more than a batch can hold, 2^31 - 1 tokens; use a smaller "
        "batch",
        samples, config.context);
  check(config.prefetch >= 0, "prefetch is {}; it must be at least 0", config.prefetch);
  check(!config.files.empty(), "no token files to train on; prepare-data makes them");
  for (const WeightedFile& file : config.files) {
    check(std::isfinite(file.weight) && file.weight >= 0,
          "{} has weight {}; weights must be at least 0", file.path.string(), file.weight);
  }
  check(std::ranges::any_of(config.files, [](const auto& file) { return file.weight > 0; }),
        "every token file has weight 0; give at least one a share");
}

// One file's training split in the order of its samples.
class TrainingFile {
 public:
  TrainingFile(TokenFile file, const LoaderConfig& config, size_t number)
      : file_(std::move(file)), document_mask_(config.document_mask) {
    const uint64_t tokens = file_.token_count(Split::train);
    check(tokens > uint64_t(config.context),
          "{} has {} training tokens, fewer than the {} of one sample (context {} + 1); use a "
          "shorter "
          "context or more text",
          file_.path().string(), tokens, config.context + 1, config.context);
    if (config.pack) {
      packed_.emplace(file_, config.context, config.seed, number);
    } else {
      windows_.emplace(tokens, config.context, config.seed, number);
    }
  }

  TokenFile& file() { return file_; }
  const TokenFile& file() const { return file_; }

  void read(uint64_t sample, BatchBuilder& builder) {
    if (packed_) {
      packed_->locate(file_, sample, layout_);
    } else {
      layout_range(file_, Split::train, windows_->at(sample), document_mask_, layout_);
    }
    builder.add(file_, Split::train, layout_);
  }

  std::optional<PackedOrder>& packed() { return packed_; }

 private:
  TokenFile file_;
  bool document_mask_;
  std::optional<WindowOrder> windows_;
  std::optional<PackedOrder> packed_;
  SampleLayout layout_;
};

// Opens the files that have a weight and checks that they agree.
std::vector<TrainingFile> open_files(const LoaderConfig& config) {
  std::vector<TrainingFile> files;
  for (const WeightedFile& entry : config.files) {
    if (entry.weight == 0) continue;
    files.emplace_back(TokenFile(entry.path, config.cache_bytes), config, files.size());
    check_same_tokenizer(files.front().file(), files.back().file());
  }
  return files;
}

std::vector<double> weights_above_zero(const LoaderConfig& config) {
  std::vector<double> weights;
  for (const WeightedFile& file : config.files) {
    if (file.weight > 0) weights.push_back(file.weight);
  }
  return weights;
}

// FNV-1a (64 bit) of everything that decides which tokens sample n has.
uint64_t fingerprint(const LoaderConfig& config, const std::vector<TrainingFile>& files,
                     const Mixture& mixture) {
  std::string text = fmt::format("2 {} {} {}", config.context, config.pack, config.seed);
  for (size_t f = 0; f < files.size(); ++f) {
    const TokenFile& file = files[f].file();
    text += fmt::format(" {} {} {} {} {}", mixture.shares()[f], file.token_count(Split::train),
                        file.document_count(Split::train), file.document_hash(Split::train),
                        file.tokenizer_hash());
  }
  uint64_t h = 14695981039346656037u;
  for (char c : text) h = (h ^ uint8_t(c)) * 1099511628211u;
  return h;
}

// Batches with the position that follows each, read in the caller's thread.
class BatchReader {
 public:
  struct Result {
    Batch batch;
    LoaderState state;
  };

  explicit BatchReader(const LoaderConfig& config)
      : config_(config),
        files_(open_files(config)),
        mixture_(weights_above_zero(config), config.seed) {
    state_.fingerprint = fingerprint(config_, files_, mixture_);
    keep_cursors();
  }

  const std::vector<TrainingFile>& files() const { return files_; }
  const LoaderState& state() const { return state_; }

  Result next() {
    const int64_t samples = config_.samples_per_step / config_.ranks;
    BatchBuilder builder(samples, config_.context, config_.document_mask);
    for (int64_t i = 0; i < samples; ++i) {
      const auto pick = mixture_.at(state_.samples + uint64_t(config_.rank * samples + i));
      files_[pick.file].read(pick.sample, builder);
    }
    state_.samples += uint64_t(config_.samples_per_step);
    keep_cursors();
    return {builder.finish(), state_};
  }

  void restore(const LoaderState& state) {
    check(
        state.fingerprint == state_.fingerprint,
        "the saved data position belongs to other token files, weights, context, packing or seed; "
        "resume with those of the run, or start a new one");
    check(state.cursors.size() == state_.cursors.size(), "the saved data position is damaged");
    for (size_t f = 0; f < state.cursors.size(); ++f) files_[f].packed()->restore(state.cursors[f]);
    state_ = state;
  }

 private:
  void keep_cursors() {
    state_.cursors.clear();
    for (TrainingFile& file : files_) {
      if (file.packed()) state_.cursors.push_back(file.packed()->cursor());
    }
  }

  LoaderConfig config_;
  std::vector<TrainingFile> files_;
  Mixture mixture_;
  LoaderState state_;
};

// HDF5 may be in use in other threads at the same time (checkpoints): without its lock nothing is
// read ahead.
size_t prefetch_depth(const LoaderConfig& config) {
  hbool_t threadsafe = false;
  H5is_library_threadsafe(&threadsafe);
  return threadsafe ? size_t(config.prefetch) : 0;
}

}  // namespace

int64_t Batch::target_count() const {
  return int64_t(targets.size()) - std::ranges::count(targets, kIgnoreTarget);
}

std::string to_json(const LoaderState& state) {
  nlohmann::json cursors = nlohmann::json::array();
  for (const PackCursor& c : state.cursors) cursors.push_back({c.epoch, c.document, c.start});
  return nlohmann::json{
      {"samples", state.samples}, {"fingerprint", state.fingerprint}, {"cursors", cursors}}
      .dump();
}

LoaderState loader_state_from_json(const std::string& json) {
  try {
    const auto parsed = nlohmann::json::parse(json);
    LoaderState state;
    state.samples = parsed.at("samples");
    state.fingerprint = parsed.at("fingerprint");
    for (const auto& c : parsed.at("cursors")) state.cursors.push_back({c.at(0), c.at(1), c.at(2)});
    return state;
  } catch (const nlohmann::json::exception& e) {
    fail("the saved data position is damaged: {}", e.what());
  }
}

struct Loader::Impl {
  explicit Impl(const LoaderConfig& config)
      : reader(config), depth(prefetch_depth(config)), state(reader.state()) {}

  const TokenFile& first_file() const { return reader.files().front().file(); }

  BatchReader reader;  // belongs to the prefetcher's thread while there is one
  size_t depth;
  LoaderState state;
  std::optional<Prefetcher<BatchReader::Result>> prefetcher;
};

Loader::Loader(const LoaderConfig& config) {
  check_config(config);
  impl_ = std::make_unique<Impl>(config);
}
Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;

Batch Loader::next() {
  Impl& impl = *impl_;
  if (!impl.prefetcher) impl.prefetcher.emplace([&impl] { return impl.reader.next(); }, impl.depth);
  BatchReader::Result result = impl.prefetcher->next();
  impl.state = std::move(result.state);
  return std::move(result.batch);
}

LoaderState Loader::state() const {
  return impl_->state;
}

void Loader::restore(const LoaderState& state) {
  impl_->prefetcher.reset();
  impl_->reader.restore(state);
  impl_->state = state;
}

uint64_t Loader::tokens_per_epoch() const {
  uint64_t tokens = 0;
  for (const TrainingFile& file : impl_->reader.files()) {
    tokens += file.file().token_count(Split::train);
  }
  return tokens;
}

uint32_t Loader::vocabulary_size() const {
  return impl_->first_file().vocabulary_size();
}
const std::string& Loader::tokenizer_hash() const {
  return impl_->first_file().tokenizer_hash();
}
const std::string& Loader::tokenizer_json() const {
  return impl_->first_file().tokenizer_json();
}

void Loader::check_vocabulary(int64_t model_vocabulary) const {
  tessera::check_vocabulary(impl_->first_file(), model_vocabulary);
}

}  // namespace tessera
