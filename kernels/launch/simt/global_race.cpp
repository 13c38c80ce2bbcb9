#include "kernels/launch/simt/global_race.h"

#include <algorithm>

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {
namespace {

const char* verb(Access kind) {
  return kind == Access::read ? "read" : kind == Access::atomic ? "atomic" : "write";
}

}  // namespace

GlobalRaceDetector::Page& GlobalRaceDetector::page_of(uintptr_t word) {
  const uintptr_t number = word / kPageWords;
  if (number != last_number_) {
    auto& page = pages_[number];
    if (!page) page = std::make_unique<Page>();
    last_ = page.get();
    last_number_ = number;
  }
  return *last_;
}

void GlobalRaceDetector::access(const Fiber& fiber, const void* p, size_t bytes, Access kind,
                                Site site) {
  uintptr_t address = reinterpret_cast<uintptr_t>(p);
  const uintptr_t end = address + bytes;
  while (address < end) {
    const uintptr_t word = address / kWord, stop = std::min(end, (word + 1) * kWord);
    Page& page = page_of(word);
    Cell& whole = page.words[word % kPageWords];
    auto split = page.bytes.empty() ? page.bytes.end() : page.bytes.find(word);
    if (split == page.bytes.end() && stop - address < kWord) {
      split = page.bytes.try_emplace(word).first;
      split->second.fill(whole);
    }
    if (split == page.bytes.end()) {
      visit(whole, address, fiber, kind, site);
      address = stop;
    } else {
      for (; address < stop; ++address)
        visit(split->second[address % kWord], address, fiber, kind, site);
    }
  }
}

void GlobalRaceDetector::visit(Cell& cell, uintptr_t address, const Fiber& fiber, Access kind,
                               Site site) const {
  const Moment now{.block = fiber.block->number,
                   .thread = uint32_t(fiber.number),
                   .time = fiber.clock[size_t(fiber.number)]};
  const auto is_before = [&](const Moment& m) {
    return m.time == 0 || (m.block == now.block && fiber.clock[m.thread] >= m.time);
  };
  const bool both_atomic = kind == Access::atomic && cell.atomic;
  if (!both_atomic && !is_before(cell.write)) {
    fail_at(site,
            "race: {} of global [{:#x}] is not ordered after the {} by block {}, thread {} at {}",
            verb(kind), address, cell.atomic ? "atomic" : "write", cell.write.block,
            cell.write.thread, describe(cell.site));
  }
  if (kind == Access::read) {
    // Of the reads that this one does not replace, the older ones stay.
    for (Moment& read : cell.reads) {
      if (!is_before(read)) continue;
      read = now;
      return;
    }
    return;
  }
  for (const Moment& read : cell.reads) {
    if (is_before(read)) continue;
    fail_at(site, "race: {} of global [{:#x}] is not ordered after the read by block {}, thread {}",
            verb(kind), address, read.block, read.thread);
  }
  cell = {.write = now, .reads = {}, .atomic = kind == Access::atomic, .site = site};
}

}  // namespace tessera::simt
