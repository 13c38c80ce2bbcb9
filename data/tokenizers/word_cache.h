// What the encoders of one thread remember, and how threads share them.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizer.h"

namespace tessera {

// The ids of short words seen lately: a table in which a word has one place, one cache line each.
class WordCache {
 public:
  // `encode(word, ids)` appends the ids of a word; it is called for words that are not remembered.
  template <class Encode>
  void append(std::string_view word, std::vector<TokenId>& ids, Encode&& encode) {
    if (word.size() > kMaxBytes) return encode(word, ids);
    const Key key = key_of(word);
    Slot& slot = slots_[slot_of(key)];
    if (!same(slot.key, key)) {
      const size_t before = ids.size();
      encode(word, ids);
      const size_t count = ids.size() - before;
      if (count > kMaxIds) return;
      slot.key = key;
      slot.count = uint32_t(count);
      std::copy_n(ids.begin() + ptrdiff_t(before), count, slot.ids.begin());
      return;
    }
    ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
  }

 private:
  static constexpr size_t kMaxBytes = 23, kMaxIds = 9, kBits = 16;
  using Key = std::array<uint64_t, 3>;  // the bytes, zeros, and the length in the last byte
  struct alignas(64) Slot {
    Key key{};  // of no word: the empty one is never looked up
    uint32_t count = 0;
    std::array<TokenId, kMaxIds> ids{};
  };

  static Key key_of(std::string_view word) {
    Key key{};
    std::memcpy(key.data(), word.data(), word.size());
    key[2] |= uint64_t(word.size()) << 56;
    return key;
  }

  static bool same(const Key& a, const Key& b) {
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2])) == 0;
  }

  static size_t slot_of(const Key& key) {
    constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;
    uint64_t h = key[0] * kOdd;
    h = (h ^ h >> 32 ^ key[1]) * kOdd;
    h = (h ^ h >> 32 ^ key[2]) * kOdd;
    return h >> (64 - kBits);
  }

  std::vector<Slot> slots_ = std::vector<Slot>(size_t{1} << kBits);
};

// Lends each thread an object of its own and keeps those given back for the next.
template <class T>
class Pool {
 public:
  class Lease {
   public:
    Lease(Pool& pool, std::unique_ptr<T> item) : pool_(pool), item_(std::move(item)) {}
    ~Lease() {
      const std::lock_guard lock(pool_.mutex_);
      pool_.items_.push_back(std::move(item_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    T& operator*() const { return *item_; }
    T* operator->() const { return item_.get(); }

   private:
    Pool& pool_;
    std::unique_ptr<T> item_;
  };

  Lease lend() {
    std::unique_ptr<T> item;
    {
      const std::lock_guard lock(mutex_);
      if (!items_.empty()) {
        item = std::move(items_.back());
        items_.pop_back();
      }
    }
    if (!item) item = std::make_unique<T>();
    return Lease(*this, std::move(item));
  }

  // Shows visit(item) all that were ever lent; none may be away.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (const auto& item : items_) visit(*item);
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> items_;
};

}  // namespace tessera
