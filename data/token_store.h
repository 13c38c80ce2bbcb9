// Token files: HDF5 with the groups `train` and `val`, each holding, in chunks with shuffle,
// deflate and fletcher32,
//   - tokens [T]: uint16 or uint32 (by vocabulary size);
//   - document_offsets [D + 1]: uint64; document d is tokens [offsets[d], offsets[d+1]), and
//     offsets[D] == T;
//   - loss_mask [T], optional: uint8; 1 where the token is worth predicting, 0 where it is only
//     read (prompts of instruction data). Without it every token counts;
// and root attributes format, format_version (2 with loss masks, else 1), tokenizer,
// tokenizer_hash, tokenizer_json, vocabulary_size.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace tessera {

enum class Split : uint8_t { train, val };
inline constexpr std::array<Split, 2> kSplits{Split::train, Split::val};
constexpr const char* split_name(Split split) {
  return split == Split::train ? "train" : "val";
}

struct TokenRange {
  uint64_t begin = 0, end = 0;
  uint64_t size() const { return end - begin; }
};

// Reads ranges of tokens and documents at random; memory is bounded by `cache_bytes` per split,
// whatever the file's size. Opening validates everything but the token values, which are checked as
// they are read. Every failure is an Error naming the file. One TokenFile is to be used by one
// thread at a time.
class TokenFile {
 public:
  static constexpr size_t kDefaultCacheBytes = size_t{64} << 20;

  explicit TokenFile(const std::filesystem::path& path, size_t cache_bytes = kDefaultCacheBytes);
  ~TokenFile();
  TokenFile(TokenFile&&) noexcept;
  TokenFile& operator=(TokenFile&&) noexcept;

  const std::filesystem::path& path() const;
  uint32_t vocabulary_size() const;
  const std::string& tokenizer_name() const;
  const std::string& tokenizer_hash() const;
  const std::string& tokenizer_json() const;
  std::unique_ptr<Tokenizer> tokenizer() const;

  uint64_t token_count(Split split) const;
  uint64_t document_count(Split split) const;
  uint64_t document_hash(Split split) const;  // of where the documents begin

  // tokens [first, first + out.size()). Throws Error for an id at or above the vocabulary size.
  void read(Split split, uint64_t first, std::span<int32_t> out);

  bool has_loss_mask(Split split) const;
  // loss_mask [first, first + out.size()); all 1 where the file has none.
  void read_loss_mask(Split split, uint64_t first, std::span<uint8_t> out);

  TokenRange document(Split split, uint64_t index);
  // The document that holds token `position`, which must be below token_count(split).
  uint64_t document_at(Split split, uint64_t position);
  // Where documents begin within (range.begin, range.end): appended in ascending order.
  void document_starts(Split split, TokenRange range, std::vector<uint64_t>& starts);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Throws Error unless every token id of `file` exists in a model of `model_vocabulary` ids.
void check_vocabulary(const TokenFile& file, int64_t model_vocabulary);

// Throws Error unless both files' ids are of one tokenizer.
void check_same_tokenizer(const TokenFile& first, const TokenFile& file);

// Writes a token file under a temporary name beside `path`; finish() flushes it to disk and renames
// it. Destroyed before that, it leaves nothing behind. Memory: a few chunks per split.
class TokenFileWriter {
 public:
  enum class LossMask : uint8_t { none, stored };

  TokenFileWriter(const std::filesystem::path& path, const Tokenizer& tokenizer,
                  LossMask mask = LossMask::none);
  ~TokenFileWriter();
  TokenFileWriter(TokenFileWriter&&) = delete;

  void append(Split split, std::span<const TokenId> ids);
  // With LossMask::stored alone: mask is as long as ids, of 0 and 1; the append() above stores 1.
  void append(Split split, std::span<const TokenId> ids, std::span<const uint8_t> mask);
  void end_document(Split split);  // empty documents are dropped
  void finish();

  // Written so far; to be asked before finish().
  uint64_t token_count(Split split) const;
  uint64_t document_count(Split split) const;
  uint64_t loss_token_count(Split split) const;  // all of them without loss masks

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
