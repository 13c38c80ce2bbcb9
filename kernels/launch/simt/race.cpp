#include "kernels/launch/simt/race.h"

#include <algorithm>

#include "kernels/launch/simt/executor.h"

namespace tessera::simt {

void join(VectorClock& clock, const VectorClock& other) {
  const size_t n = std::min(clock.size(), other.size());
  uint32_t* a = clock.data();
  const uint32_t* b = other.data();
  for (size_t i = 0; i < n; ++i) a[i] = std::max(a[i], b[i]);
}

void RaceDetector::begin(Block& block, bool on) {
  block_ = &block;
  on_ = on;
  if (!on) return;
  threads_ = block.threads;
  agents_ = threads_ + kCopyAgents + kWgmmaAgents * int(block.warpgroups.size());
  chunks_.resize(SharedMemory::kBytes / kChunk);
  ++blocks_;  // makes what the chunks hold out of date
  parts_.clear();
  used_lists_ = 0;
  copies_ = 0;
  copy_times_.assign(kCopyAgents, 0);
}

int32_t RaceDetector::new_list() {
  if (used_lists_ == lists_.size()) lists_.emplace_back();
  lists_[used_lists_].clear();
  return int32_t(used_lists_++);
}

void RaceDetector::split(Chunk& chunk) {
  if (chunk.parts < 0) {
    chunk.parts = int32_t(parts_.size());
    parts_.emplace_back();
  }
  chunk.split = true;
  auto& parts = parts_[size_t(chunk.parts)];
  parts.fill(chunk.whole);
  for (size_t i = 1; i < kChunk; ++i) {
    parts[i].list = -1;
    if (parts[i].readers != kMany) continue;
    parts[i].list = new_list();
    lists_[size_t(parts[i].list)] = lists_[size_t(chunk.whole.list)];
  }
}

template <class Visit>
void RaceDetector::for_each_cell(uint32_t address, uint32_t bytes, bool equalises, Visit visit) {
  const uint32_t end = address + bytes;
  while (address < end) {
    Chunk& chunk = chunks_[address / kChunk];
    if (chunk.block != blocks_) chunk = {.whole = {}, .block = blocks_};
    const uint32_t stop = std::min(end, (address / kChunk + 1) * kChunk);
    const bool full = stop - address == kChunk;
    if (full && !chunk.split) {
      visit(chunk.whole, address);
      address = stop;
      continue;
    }
    if (!chunk.split) split(chunk);
    auto& parts = parts_[size_t(chunk.parts)];
    for (; address < stop; ++address) visit(parts[address % kChunk], address);
    if (full && equalises) {
      chunk.whole = parts[0];
      chunk.split = false;
    }
  }
}

std::string RaceDetector::name_of(uint16_t agent) const {
  if (agent < threads_) return fmt::format("thread {} (warp {})", agent, agent / kLanes);
  if (agent < threads_ + kCopyAgents) return "a TMA copy";
  return fmt::format("wgmma of warpgroup {}", (agent - threads_ - kCopyAgents) / kWgmmaAgents);
}

void RaceDetector::access(uint32_t address, uint32_t bytes, Access kind, const Agent& agent,
                          Site site) {
  const bool writes = kind != Access::read && kind != Access::async_read;
  for_each_cell(address, bytes, writes, [&](Cell& cell, uint32_t at) {
    check_cell(cell, at, kind, agent, site);
    record(cell, kind, agent);
  });
}

void RaceDetector::check_cell(const Cell& cell, uint32_t address, Access kind, const Agent& agent,
                              Site site) {
  const bool reads = kind == Access::read || kind == Access::async_read;
  const auto verb = [&] { return reads ? "read" : kind == Access::atomic ? "atomic" : "write"; };
  if (cell.in_flight) {
    fail_at(site,
            "race: {} of shared [{:#x}] by {} while an asynchronous copy into it is in flight",
            verb(), address, name_of(agent.id));
  }
  if (reads && !cell.initialised) {
    fail_at(site, "uninitialised read of shared [{:#x}] by {}", address, name_of(agent.id));
  }
  const bool both_atomic = kind == Access::atomic && cell.atomic_write;
  if (cell.write_time && cell.writer != agent.id && !both_atomic &&
      (*agent.seen)[cell.writer] < cell.write_time) {
    fail_at(site, "race: {} of shared [{:#x}] by {} is not ordered after the write by {}", verb(),
            address, name_of(agent.id), name_of(cell.writer));
  }
  const bool async = kind == Access::async_read || kind == Access::async_write;
  if (async) check_proxy(cell, address, kind, agent, site);
  if (!reads) check_readers(cell, address, agent, site);
}

// An asynchronous access to what a thread wrote needs a proxy fence, either of the writer after the
// write or of the issuer after it is ordered after the write. One to what threads only read needs
// none: a producer reloads a stage once its readers have arrived.
void RaceDetector::check_proxy(const Cell& cell, uint32_t address, Access kind, const Agent& agent,
                               Site site) {
  if (cell.async_write || cell.write_time == 0 || cell.writer >= threads_) return;
  const Fiber& writer = block_->fibers[cell.writer];
  if (writer.fence_time >= cell.write_time) return;
  const VectorClock& fenced = *agent.fenced;  // empty if there was no fence
  if (!fenced.empty() && fenced[cell.writer] >= cell.write_time) return;
  fail_at(site,
          "missing fence_proxy_async: {} {} shared [{:#x}], which {} wrote with an ordinary store",
          name_of(agent.id), kind == Access::async_read ? "reads" : "writes", address,
          name_of(cell.writer));
}

void RaceDetector::check_readers(const Cell& cell, uint32_t address, const Agent& agent,
                                 Site site) {
  const auto check_reader = [&](uint16_t reader, uint32_t time) {
    if (reader == agent.id || (*agent.seen)[reader] >= time) return;
    fail_at(site, "race: write of shared [{:#x}] by {} is not ordered after the read by {}",
            address, name_of(agent.id), name_of(reader));
  };
  if (cell.readers == 1) check_reader(cell.reader, cell.read_time);
  if (cell.readers != kMany) return;
  for (const auto& [reader, time] : lists_[size_t(cell.list)]) check_reader(reader, time);
}

void RaceDetector::record(Cell& cell, Access kind, const Agent& agent) {
  if (kind == Access::read || kind == Access::async_read) return record_read(cell, agent);
  cell.readers = 0;
  cell.writer = agent.id;
  cell.write_time = agent.time;
  cell.initialised = true;
  cell.async_write = kind == Access::async_write;
  cell.atomic_write = kind == Access::atomic;
}

void RaceDetector::record_read(Cell& cell, const Agent& agent) {
  const bool replaces = cell.readers == 1 &&
                        (cell.reader == agent.id || (*agent.seen)[cell.reader] >= cell.read_time);
  if (cell.readers == 0 || replaces) {
    cell.readers = 1;
    cell.reader = agent.id;
    cell.read_time = agent.time;
    return;
  }
  if (cell.list < 0) cell.list = new_list();
  auto& readers = lists_[size_t(cell.list)];
  if (cell.readers == 1) {
    readers.assign(1, {cell.reader, cell.read_time});
    cell.readers = kMany;
  }
  const auto known = std::ranges::find(readers, agent.id, &std::pair<uint16_t, uint32_t>::first);
  if (known == readers.end()) {
    readers.emplace_back(agent.id, agent.time);
  } else {
    known->second = agent.time;
  }
}

void RaceDetector::thread_access(const Fiber& fiber, uint32_t address, uint32_t bytes, Access kind,
                                 Site site) {
  if (!on_) return;
  const Agent agent{.id = uint16_t(fiber.number),
                    .time = fiber.clock[size_t(fiber.number)],
                    .seen = &fiber.clock};
  access(address, bytes, kind, agent, site);
}

void RaceDetector::set_in_flight(uint32_t address, uint32_t bytes, bool in_flight) {
  if (!on_) return;
  for_each_cell(address, bytes, false,
                [in_flight](Cell& cell, uint32_t) { cell.in_flight = in_flight; });
}

Agent RaceDetector::new_copy_agent(Fiber& issuer, VectorClock& seen) {
  if (!on_) return {};
  const uint32_t k = copies_++ % kCopyAgents;
  const uint32_t time = ++copy_times_[k];
  const uint16_t id = uint16_t(uint32_t(threads_) + k);
  seen = issuer.clock;
  seen[id] = time;
  ++issuer.clock[size_t(issuer.number)];
  return {.id = id, .time = time, .seen = &seen, .fenced = &issuer.fence_clock};
}

uint16_t RaceDetector::wgmma_agent(int group, uint64_t number) const {
  return uint16_t(threads_ + kCopyAgents + group * kWgmmaAgents + int(number % kWgmmaAgents));
}

void RaceDetector::release(Fiber& fiber, VectorClock& into) {
  if (!on_) return;
  if (into.size() < fiber.clock.size()) into.resize(fiber.clock.size());
  join(into, fiber.clock);
  ++fiber.clock[size_t(fiber.number)];
}

void RaceDetector::acquire(Fiber& fiber, const VectorClock& from) {
  if (on_) join(fiber.clock, from);
}

void RaceDetector::fence_async_proxy(Fiber& fiber) {
  if (!on_) return;
  fiber.fence_clock = fiber.clock;
  fiber.fence_time = fiber.clock[size_t(fiber.number)]++;
}

}  // namespace tessera::simt
