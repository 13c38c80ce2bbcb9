#include "data/sample_order.h"

#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "core/random.h"

namespace tessera {
namespace {

uint32_t file_purpose(const char* use, size_t file) {
  return purpose_id(fmt::format("data/{}/{}", use, file));
}

// Whole shares of `total` in proportion to the weights: at least 1 each, largest remainders first.
std::vector<uint64_t> apportion(const std::vector<double>& weights, uint64_t total) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<uint64_t> shares;
  std::vector<double> rest;  // what a file still lacks
  for (double weight : weights) {
    const double exact = weight / sum * double(total);
    shares.push_back(std::max<uint64_t>(1, uint64_t(exact)));
    rest.push_back(exact - double(shares.back()));
  }
  const auto step = [&](auto position, int change) {
    const size_t i = size_t(position - rest.begin());
    shares[i] += uint64_t(int64_t{change});
    rest[i] -= change;
  };
  uint64_t given = std::accumulate(shares.begin(), shares.end(), uint64_t{0});
  for (; given < total; ++given) step(std::ranges::max_element(rest), 1);
  // The minimum of 1 may have given too much: take it from those that have the most to spare.
  for (; given > total; --given) {
    const auto largest = std::ranges::max_element(shares);
    step(rest.begin() + (largest - shares.begin()), -1);
  }
  return shares;
}

}  // namespace

Mixture::Mixture(const std::vector<double>& weights, uint64_t seed) : seed_(seed) {
  check(weights.size() <= kBlock, "{} files are more than can be mixed, {}", weights.size(),
        kBlock);
  shares_ = apportion(weights, kBlock);
}

Mixture::Pick Mixture::at(uint64_t n) {
  if (shares_.size() == 1) return {0, n};
  const uint64_t block = n / kBlock;
  if (loaded_ != block) load(block);
  Pick pick = picks_[n % kBlock];
  pick.sample += block * shares_[pick.file];
  return pick;
}

void Mixture::load(uint64_t block) {
  std::vector<size_t> files;
  for (size_t f = 0; f < shares_.size(); ++f) files.insert(files.end(), shares_[f], f);
  const Permutation order(kBlock, Philox(seed_, purpose_id("data/mixture"), uint32_t(block)));
  std::vector<uint64_t> used(shares_.size(), 0);
  picks_.clear();
  for (uint64_t i = 0; i < kBlock; ++i) {
    const size_t file = files[order(i)];
    picks_.push_back({file, used[file]++});
  }
  loaded_ = block;
}

WindowOrder::WindowOrder(uint64_t tokens, int64_t context, uint64_t seed, size_t file)
    : context_(uint64_t(context)), seed_(seed), purpose_(file_purpose("windows", file)) {
  const uint64_t fitting = (tokens - 1) / context_;
  // One window fewer than fit leaves the origin free to move by at least a whole stride.
  windows_ = std::max<uint64_t>(1, fitting - 1);
  origins_ = tokens - windows_ * context_;
}

TokenRange WindowOrder::at(uint64_t sample) const {
  const auto epoch = uint32_t(sample / windows_);
  const uint64_t origin =
      Philox(seed_, purpose_id("data/origin") ^ purpose_, epoch).below(0, origins_);
  const Permutation order(windows_, Philox(seed_, purpose_, epoch));
  const uint64_t begin = origin + order(sample % windows_) * context_;
  return {begin, begin + context_ + 1};
}

PackedOrder::PackedOrder(const TokenFile& file, int64_t context, uint64_t seed, size_t file_number)
    : context_(uint64_t(context)),
      documents_(file.document_count(Split::train)),
      samples_per_epoch_((file.token_count(Split::train) - 1) / context_),
      seed_(seed),
      purpose_(file_purpose("documents", file_number)),
      order_(order_of(0)) {}

void PackedOrder::locate(TokenFile& file, uint64_t sample, SampleLayout& layout) {
  const uint64_t epoch = sample / samples_per_epoch_;
  const uint64_t begin = sample % samples_per_epoch_ * context_, end = begin + context_ + 1;
  if (epoch != cursor_.epoch || cursor_.start > begin) restore({.epoch = epoch});
  TokenRange tokens = document(file, cursor_.document);
  while (cursor_.start + tokens.size() <= begin) {
    cursor_.start += tokens.size();
    tokens = document(file, ++cursor_.document);
  }
  tokens.begin += begin - cursor_.start;
  layout.clear();
  for (uint64_t at = begin, next = cursor_.document + 1;;) {
    const uint64_t taken = std::min(tokens.size(), end - at);
    layout.pieces.push_back({tokens.begin, tokens.begin + taken});
    at += taken;
    if (at == end) break;
    layout.starts.push_back(int64_t(at - begin));
    tokens = document(file, next++);
  }
}

void PackedOrder::restore(const PackCursor& cursor) {
  check(cursor.document < documents_, "the data position names document {} of {}; it is damaged",
        cursor.document, documents_);
  if (cursor.epoch != cursor_.epoch) order_ = order_of(cursor.epoch);
  cursor_ = cursor;
}

TokenRange PackedOrder::document(TokenFile& file, uint64_t index) const {
  return file.document(Split::train, order_(index));
}

Permutation PackedOrder::order_of(uint64_t epoch) const {
  return {documents_, Philox(seed_, purpose_, uint32_t(epoch))};
}

}  // namespace tessera
