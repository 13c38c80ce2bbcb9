// Byte pair encoding of single words.
#pragma once

#include <array>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer.h"

namespace tessera {

// Which pairs of neighbours become one, and in which order: a hash table with open addressing.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank = kNoRank;  // lower ones come first
    TokenId merged = 0;
  };
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  explicit MergeTable(size_t count = 0);
  void insert(TokenId left, TokenId right, Merge merge);  // at most `count` pairs
  Merge find(TokenId left, TokenId right) const {
    const uint64_t key = key_of(left, right);
    for (size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].merge;
      if (slots_[slot].key == kEmpty) return {};
    }
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };

  static uint64_t key_of(TokenId left, TokenId right) { return uint64_t(left) << 32 | right; }
  size_t slot_of(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u >> 20) & mask_; }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

struct BpeOptions {
  bool byte_level = false;     // symbols are bytes, otherwise characters
  bool ignore_merges = false;  // a word that is a token needs no merges
  bool byte_fallback = false;  // characters that are no token become those of their bytes
  bool fuse_unknown = false;   // neighbours that are unknown become one
  std::optional<TokenId> unknown;
};

class BpeModel {
 public:
  using Ids = std::unordered_map<std::string, TokenId>;
  // `ids` has the bytes of each token, with byte_level or without.
  BpeModel(const BpeOptions& options, const Ids& ids, MergeTable merges);

  // Memory of one encoding thread.
  struct Scratch {
    struct Symbol {
      TokenId id;
      MergeTable::Merge merge;  // with the next one
      int32_t previous = -1, next = -1;
    };
    struct Candidate {
      uint32_t rank;
      int32_t at;
      TokenId merged;
      bool operator>(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : at > other.at;
      }
    };
    std::vector<Symbol> symbols;
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  };

  // Appends the ids of `word`; with characters as symbols it must be valid UTF-8.
  void encode(std::string_view word, std::vector<TokenId>& ids, Scratch& scratch) const;
  // Appends the ids of bytes that are not UTF-8.
  void encode_bytes(std::string_view bytes, std::vector<TokenId>& ids, Scratch& scratch) const;

 private:
  static constexpr TokenId kNone = ~TokenId{0};

  void append_symbols(std::string_view word, std::vector<Scratch::Symbol>& symbols) const;
  void append_character(std::string_view character, std::vector<Scratch::Symbol>& symbols) const;
  void merge_short(std::vector<Scratch::Symbol>& symbols) const;
  void merge_long(Scratch& scratch) const;

  BpeOptions options_;
  std::array<TokenId, 256> bytes_{};              // ids of bytes as symbols, or of <0x00>...
  bool has_all_bytes_ = true;                     // of the latter
  std::unordered_map<std::string, TokenId> ids_;  // of words or characters
  MergeTable merges_;
};

}  // namespace tessera
