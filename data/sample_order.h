// Which tokens make up sample number n: pure functions of the files' sizes, the settings, the seed
// and n.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/loader.h"
#include "data/permutation.h"
#include "data/token_store.h"

namespace tessera {

// The context + 1 tokens of a sample, as ranges of a file.
struct SampleLayout {
  std::vector<TokenRange> pieces;  // laid end to end
  std::vector<int64_t>
      starts;  // where documents other than the first begin: ascending, in [1, context]

  void clear() { pieces.clear(), starts.clear(); }
};

// Mixes files by weight: of every 4096 samples each file gets its share, in an order drawn for that
// block.
class Mixture {
 public:
  static constexpr uint64_t kBlock = 4096;

  struct Pick {
    size_t file = 0;
    uint64_t sample = 0;  // of the file's own order
  };

  // Weights above 0, at most kBlock of them.
  Mixture(const std::vector<double>& weights, uint64_t seed);

  Pick at(uint64_t n);

  const std::vector<uint64_t>& shares() const {
    return shares_;
  }  // samples per block; at least 1 each

 private:
  void load(uint64_t block);

  uint64_t seed_;
  std::vector<uint64_t> shares_;
  std::optional<uint64_t> loaded_;
  std::vector<Pick> picks_;  // of the loaded block; `sample` counts from the block's start
};

// Windows of context + 1 tokens at a stride of `context`, so that each token is predicted at most
// once an epoch; a new origin and a new order in every epoch.
class WindowOrder {
 public:
  // tokens > context
  WindowOrder(uint64_t tokens, int64_t context, uint64_t seed, size_t file);

  uint64_t windows_per_epoch() const { return windows_; }
  TokenRange at(uint64_t sample) const;

 private:
  uint64_t context_, windows_, origins_, seed_;
  uint32_t purpose_;
};

// Whole documents in a new order every epoch, laid end to end and cut every `context` tokens. A
// sample's last token is the next one's first, so each is predicted once; what is left at an
// epoch's end is dropped.
class PackedOrder {
 public:
  // more than `context` tokens in the training split
  PackedOrder(const TokenFile& file, int64_t context, uint64_t seed, size_t file_number);

  // Walks the lengths of documents from the cursor, or from the epoch's start when the cursor is
  // beyond the sample.
  void locate(TokenFile& file, uint64_t sample, SampleLayout& layout);

  const PackCursor& cursor() const { return cursor_; }
  void restore(const PackCursor& cursor);

 private:
  TokenRange document(TokenFile& file, uint64_t index) const;
  Permutation order_of(uint64_t epoch) const;

  uint64_t context_, documents_, samples_per_epoch_, seed_;
  uint32_t purpose_;
  PackCursor cursor_;
  Permutation order_;
};

}  // namespace tessera
