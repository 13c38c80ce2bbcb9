#include "data/tokenizers/bpe_model.h"

#include <algorithm>
#include <bit>

#include "core/check.h"
#include "data/utf8.h"

namespace tessera {
namespace {

// Up to this many symbols, looking through all pairs beats a heap.
constexpr size_t kShort = 48;

}  // namespace

MergeTable::MergeTable(size_t count) : slots_(std::bit_ceil(2 * count + 2)) {
  mask_ = slots_.size() - 1;
}

void MergeTable::insert(TokenId left, TokenId right, Merge merge) {
  const uint64_t key = key_of(left, right);
  size_t slot = slot_of(key);
  while (slots_[slot].key != kEmpty && slots_[slot].key != key) slot = (slot + 1) & mask_;
  slots_[slot] = {key, merge};
}

BpeModel::BpeModel(const BpeOptions& options, const Ids& ids, MergeTable merges)
    : options_(options), merges_(std::move(merges)) {
  const auto id_of = [&](const std::string& text) {
    const auto found = ids.find(text);
    return found == ids.end() ? kNone : found->second;
  };
  for (size_t b = 0; b < bytes_.size(); ++b) {
    bytes_[b] = id_of(options.byte_level ? std::string(1, char(b)) : fmt::format("<0x{:02X}>", b));
    has_all_bytes_ &= bytes_[b] != kNone;
  }
  if (options.ignore_merges || !options.byte_level) ids_ = ids;
}

void BpeModel::encode(std::string_view word, std::vector<TokenId>& ids, Scratch& scratch) const {
  if (options_.ignore_merges) {
    const auto found = ids_.find(std::string(word));
    if (found != ids_.end()) return ids.push_back(found->second);
  }
  auto& symbols = scratch.symbols;
  symbols.clear();
  append_symbols(word, symbols);
  symbols.size() <= kShort ? merge_short(symbols) : merge_long(scratch);
  for (const Scratch::Symbol& symbol : symbols) ids.push_back(symbol.id);
}

void BpeModel::encode_bytes(std::string_view bytes, std::vector<TokenId>& ids,
                            Scratch& scratch) const {
  if (options_.byte_level) return encode(bytes, ids, scratch);
  for (char c : bytes) {
    if (options_.byte_fallback && has_all_bytes_) {
      ids.push_back(bytes_[uint8_t(c)]);
    } else if (options_.unknown) {
      ids.push_back(*options_.unknown);
    }
  }
}

void BpeModel::append_symbols(std::string_view word, std::vector<Scratch::Symbol>& symbols) const {
  if (!options_.byte_level) {
    while (!word.empty()) {
      const size_t length = first_utf8(word).length;
      append_character(word.substr(0, length), symbols);
      word.remove_prefix(length);
    }
    return;
  }
  for (char c : word) {
    const TokenId id = bytes_[uint8_t(c)];
    if (id != kNone) {
      symbols.push_back({id});
    } else if (options_.unknown) {
      symbols.push_back({*options_.unknown});
    }
  }
}

void BpeModel::append_character(std::string_view character,
                                std::vector<Scratch::Symbol>& symbols) const {
  const auto found = ids_.find(std::string(character));
  if (found != ids_.end()) {
    symbols.push_back({found->second});
    return;
  }
  const auto has_byte = [&](char c) { return bytes_[uint8_t(c)] != kNone; };
  if (options_.byte_fallback && std::ranges::all_of(character, has_byte)) {
    for (char c : character) symbols.push_back({bytes_[uint8_t(c)]});
  } else if (options_.unknown) {
    const bool joins =
        options_.fuse_unknown && !symbols.empty() && symbols.back().id == *options_.unknown;
    if (!joins) symbols.push_back({*options_.unknown});
  }
}

void BpeModel::merge_short(std::vector<Scratch::Symbol>& symbols) const {
  if (symbols.size() < 2) return;
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    symbols[i].merge = merges_.find(symbols[i].id, symbols[i + 1].id);
  }
  while (symbols.size() > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < symbols.size(); ++i) {
      if (symbols[i].merge.rank < symbols[best].merge.rank) best = i;
    }
    if (symbols[best].merge.rank == MergeTable::kNoRank) break;
    symbols[best].id = symbols[best].merge.merged;
    symbols.erase(symbols.begin() + ptrdiff_t(best) + 1);
    symbols[best].merge = best + 1 < symbols.size()
                              ? merges_.find(symbols[best].id, symbols[best + 1].id)
                              : MergeTable::Merge{};
    if (best > 0) symbols[best - 1].merge = merges_.find(symbols[best - 1].id, symbols[best].id);
  }
}

// A linked list of symbols, and a heap of pairs in which outdated ones are recognized when they
// come up.
void BpeModel::merge_long(Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  check(symbols.size() < size_t{1} << 31, "a word of {} symbols is too long", symbols.size());
  const auto offer = [&](int32_t at) {
    if (at < 0 || symbols[size_t(at)].next < 0) return;
    const auto merge =
        merges_.find(symbols[size_t(at)].id, symbols[size_t(symbols[size_t(at)].next)].id);
    symbols[size_t(at)].merge = merge;
    if (merge.rank != MergeTable::kNoRank) scratch.queue.push({merge.rank, at, merge.merged});
  };
  for (size_t i = 0; i < symbols.size(); ++i) {
    symbols[i].previous = int32_t(i) - 1;
    symbols[i].next = i + 1 < symbols.size() ? int32_t(i) + 1 : -1;
  }
  for (size_t i = 0; i < symbols.size(); ++i) offer(int32_t(i));
  while (!scratch.queue.empty()) {
    const Scratch::Candidate top = scratch.queue.top();
    scratch.queue.pop();
    Scratch::Symbol& left = symbols[size_t(top.at)];
    if (left.id == kNone || left.next < 0 || left.merge.rank != top.rank) continue;
    Scratch::Symbol& right = symbols[size_t(left.next)];
    left.id = top.merged;
    left.merge = {};
    left.next = right.next;
    right.id = kNone;
    if (left.next >= 0) symbols[size_t(left.next)].previous = top.at;
    offer(top.at);
    offer(left.previous);
  }
  std::erase_if(symbols, [](const Scratch::Symbol& symbol) { return symbol.id == kNone; });
}

}  // namespace tessera
