#include "kernels/launch/simt/bank_conflicts.h"

#include <algorithm>
#include <array>

namespace tessera::simt {
namespace {

constexpr uint32_t kBanks = 32, kWord = 4;

}  // namespace

void BankConflicts::add_phase(Site site, std::span<const uint32_t> addresses, uint32_t bytes) {
  std::array<std::array<uint32_t, kBanks>, kBanks> words;  // distinct ones, by bank
  std::array<uint32_t, kBanks> count{};
  for (const uint32_t address : addresses) {
    for (uint32_t word = address / kWord; word < (address + bytes + kWord - 1) / kWord; ++word) {
      auto& bank = words[word % kBanks];
      uint32_t& n = count[word % kBanks];
      if (std::find(bank.begin(), bank.begin() + n, word) == bank.begin() + n) bank[n++] = word;
    }
  }
  BankCount& total = counts_[{site.file, site.line}];
  total.cycles += *std::ranges::max_element(count);
  total.ideal_cycles += 1;
}

void BankConflicts::add_lane(Site site, WarpId warp, int lane, uint32_t live, uint32_t address,
                             uint32_t bytes) {
  Partial& partial = partial_[warp.block][{{site.file, site.line}, warp.warp}];
  const uint64_t number = partial.done[lane]++;
  while (number - partial.first >= partial.queue.size()) partial.queue.emplace_back();
  Access& access = partial.queue[number - partial.first];
  access.addresses[lane] = address;
  access.lanes |= 1u << lane;
  access.bytes = bytes;
  while (!partial.queue.empty() && (live & ~partial.queue.front().lanes) == 0) {
    finish(site, partial.queue.front());
    partial.queue.pop_front();
    ++partial.first;
  }
}

void BankConflicts::end_block(const void* block) {
  for (const auto& [key, partial] : partial_[block]) {
    for (const Access& access : partial.queue) {
      finish({key.first.first, key.first.second}, access);
    }
  }
  partial_.erase(block);
}

// Hardware serves 8-byte accesses half a warp at a time, and 16-byte ones a quarter.
void BankConflicts::finish(Site site, const Access& access) {
  const uint32_t phases = std::max(1u, access.bytes / kWord);
  const uint32_t lanes = kBanks / phases;
  add_access(site);
  for (uint32_t phase = 0; phase < phases; ++phase) {
    std::vector<uint32_t> addresses;
    for (uint32_t lane = phase * lanes; lane < (phase + 1) * lanes; ++lane) {
      if (access.lanes >> lane & 1) addresses.push_back(access.addresses[lane]);
    }
    if (!addresses.empty()) add_phase(site, addresses, access.bytes);
  }
}

std::map<std::string, BankCount> BankConflicts::counts() const {
  std::map<std::string, BankCount> result;
  for (const auto& [key, count] : counts_) {
    BankCount& total = result[describe({key.first, key.second})];
    total.accesses += count.accesses;
    total.cycles += count.cycles;
    total.ideal_cycles += count.ideal_cycles;
  }
  return result;
}

}  // namespace tessera::simt
