// The memory ledger: every byte a Context hands out is booked here under a tag.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tessera {

enum class MemoryTag : uint8_t {
  parameters,
  gradients,
  optimizer,
  activations,
  workspace,
  communication,
  data
};
inline constexpr size_t kMemoryTags = 7;

constexpr std::string_view name_of(MemoryTag tag) {
  constexpr std::string_view kNames[kMemoryTags] = {
      "parameters", "gradients", "optimizer", "activations", "workspace", "communication", "data"};
  return kNames[size_t(tag)];
}

using BytesByTag = std::array<int64_t, kMemoryTags>;

// Bytes in use, now and at the peak, in total and by tag. Bytes are those of allocated blocks
// (requests rounded up to the pool's granule), so that a dry run on `meta` and a run on a device
// agree to the byte.
class Ledger {
 public:
  struct Event {
    MemoryTag tag;
    int64_t bytes;  // negative when released
    int64_t total;  // in use afterwards
  };

  void add(MemoryTag tag, int64_t bytes);
  void remove(MemoryTag tag, int64_t bytes);
  // Books `bytes` that are in use from one tag to another.
  void move(MemoryTag from, MemoryTag to, int64_t bytes);

  int64_t current() const { return total_; }
  int64_t current(MemoryTag tag) const { return current_[size_t(tag)]; }
  int64_t peak() const { return peak_; }
  // The largest value that each tag reached, at whatever moment.
  const BytesByTag& peak_by_tag() const { return peak_by_tag_; }
  // The composition of memory at the moment of the total peak.
  const BytesByTag& at_peak() const { return at_peak_; }
  // Starts the peaks anew from what is in use now.
  void reset_peak();

  // The timeline: every event since recording began.
  void record_timeline(bool on) { recording_ = on; }
  const std::vector<Event>& timeline() const { return timeline_; }

 private:
  void book(MemoryTag tag, int64_t bytes);

  BytesByTag current_{}, peak_by_tag_{}, at_peak_{};
  int64_t total_ = 0, peak_ = 0;
  bool recording_ = false;
  std::vector<Event> timeline_;
};

}  // namespace tessera
