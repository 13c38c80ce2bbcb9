// The training stream: token files to batches. Sample number n of a run is a function of (files,
// settings, seed, n) alone; ranks, batch size, accumulation and prefetching only decide who reads
// it and when.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/token_store.h"

namespace tessera {

inline constexpr int32_t kIgnoreTarget = -100;

// B samples of T tokens.
struct Batch {
  int64_t samples = 0, context = 0;  // B, T
  std::vector<int32_t> tokens;       // [B, T]
  std::vector<int32_t>
      targets;  // [B, T] the next token; kIgnoreTarget where there is none to predict
  std::vector<int32_t>
      positions;  // [B, T] counted from the row's start, or the document's with document_mask
  // With document_mask, else empty: 0, where each document (or part of one) starts in the flattened
  // B*T tokens, B*T. Every row starts a new one.
  std::vector<int32_t> cu_seqlens;

  int64_t target_count()
      const;  // targets other than kIgnoreTarget; may be 0 when all documents have length 1
};

struct WeightedFile {
  std::filesystem::path path;
  double weight =
      1.0;  // share of samples, relative to the others; a file of weight 0 is not opened
};

struct LoaderConfig {
  std::vector<WeightedFile> files;
  int64_t context = 0;  // T
  bool pack =
      false;  // false: shuffled windows of the stream; true: shuffled documents laid end to end
  bool document_mask = false;  // report document boundaries and predict nothing across them
  uint64_t seed = 0;
  int64_t samples_per_step = 0;  // over all ranks; a multiple of `ranks`
  int rank = 0, ranks = 1;
  int prefetch = 4;  // batches read ahead by a thread; 0 reads in the caller's
  size_t cache_bytes = TokenFile::kDefaultCacheBytes;  // of decompressed chunks, per file and split
};

// A place in a file's packed stream, so that restoring needs no walk from the epoch's start.
struct PackCursor {
  uint64_t epoch = 0, document = 0;  // the document'th of the epoch's shuffled order ...
  uint64_t start = 0;                // ... begins at this token of the epoch's stream
  bool operator==(const PackCursor&) const = default;
};

struct LoaderState {
  uint64_t samples = 0;             // read so far by all ranks together
  uint64_t fingerprint = 0;         // of everything that decides the order of samples
  std::vector<PackCursor> cursors;  // one per file; empty without packing
  bool operator==(const LoaderState&) const = default;
};
std::string to_json(const LoaderState& state);
LoaderState loader_state_from_json(const std::string& json);

class Loader {
 public:
  // Throws Error for settings out of range, unreadable files, different tokenizers, or too few
  // tokens for one sample.
  explicit Loader(const LoaderConfig& config);
  ~Loader();
  Loader(Loader&&) noexcept;

  // The rank's slice of the next step: samples_per_step / ranks samples. Errors of the reading
  // thread surface here.
  Batch next();

  // The position after the last batch that next() returned.
  LoaderState state() const;
  // Continues exactly there, on any number of ranks. Throws Error when the state belongs to other
  // data or settings.
  void restore(const LoaderState& state);

  uint64_t tokens_per_epoch() const;  // training tokens in all files of weight above 0
  // The first file; all files have the same tokenizer.
  uint32_t vocabulary_size() const;
  const std::string& tokenizer_hash() const;
  const std::string& tokenizer_json() const;
  void check_vocabulary(int64_t model_vocabulary) const;  // names the file in its Error

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct EvaluationConfig {
  std::vector<std::filesystem::path> files;
  Split split = Split::val;
  int64_t context = 0;
  int64_t stride = 0;  // from a window's first token to the next one's, <= context; 0: context
  bool document_mask = false;
  int64_t batch = 0;        // samples per batch and rank
  int64_t max_batches = 0;  // 0: the whole split
  int rank = 0, ranks = 1;
};

// Goes through a split in order. Windows overlap where the stride is below the context; a window
// then has only the targets that the one before it had not, so each is predicted once. With a limit
// the windows are spread evenly over the whole split. Every rank gets the same number of batches of
// [batch, context]; rows beyond the last window have only kIgnoreTarget targets, so a mean over
// target_count() is exact.
class EvaluationReader {
 public:
  // Throws Error when no file has more than `context` tokens in the split, and for different
  // tokenizers.
  explicit EvaluationReader(const EvaluationConfig& config);
  ~EvaluationReader();
  EvaluationReader(EvaluationReader&&) noexcept;

  bool next(Batch& batch);  // false at the end
  void rewind();
  int64_t batches() const;  // of this rank; the same on all
  int64_t samples() const;  // over all ranks

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
