#include "data/tokenizers/character_map.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/check.h"

namespace tessera {
namespace {

// The library gathers the matches of one place in an array of this many.
constexpr int kMaxMatches = 32;

// A unit of a Darts-clone double array: a leaf's value, or a node's label and where its children
// are.
struct Unit {
  uint32_t bits;
  bool is_leaf() const { return bits >> 31 != 0; }
  uint32_t value() const { return bits & 0x7FFFFFFFu; }
  uint32_t label() const { return bits & 0xFFu; }
  bool has_leaf() const { return (bits >> 8 & 1) != 0; }
  size_t offset() const { return size_t(bits >> 10) << ((bits & (1u << 9)) >> 6); }
};

struct Visit {
  size_t node;
  int matches;  // on the way to it
};

// Follows every walk that some text could take; a node again only with more matches than before.
void check_trie(const std::vector<Unit>& units, size_t replacement_bytes) {
  std::vector<int8_t> most_matches(units.size(), -1);
  std::vector<Visit> open{{0, 0}};
  while (!open.empty()) {
    Visit at = open.back();
    open.pop_back();
    if (at.matches <= most_matches[at.node]) continue;
    most_matches[at.node] = int8_t(at.matches);
    const size_t base = at.node ^ units[at.node].offset();
    check((base | 0xFF) < units.size(), "precompiled_charsmap is damaged: a node is outside");
    if (units[at.node].has_leaf()) {
      ++at.matches;
      check(units[base].value() < replacement_bytes && at.matches < kMaxMatches,
            "precompiled_charsmap is damaged: a replacement is outside");
    }
    for (uint32_t label = 0; label < 256; ++label) {
      const Unit& child = units[base ^ label];
      if (!child.is_leaf() && child.label() == label) open.push_back({base ^ label, at.matches});
    }
  }
}

}  // namespace

void check_character_map(std::string_view bytes) {
  if (bytes.empty()) return;
  uint32_t trie_bytes = 0;
  check(bytes.size() > sizeof trie_bytes, "precompiled_charsmap has {} bytes", bytes.size());
  std::memcpy(&trie_bytes, bytes.data(), sizeof trie_bytes);
  bytes.remove_prefix(sizeof trie_bytes);
  check(trie_bytes < bytes.size() && trie_bytes > 0 && trie_bytes % sizeof(Unit) == 0 &&
            bytes.back() == '\0',
        "precompiled_charsmap is damaged: a trie of {} bytes in {}", trie_bytes, bytes.size());
  std::vector<Unit> units(trie_bytes / sizeof(Unit));
  std::memcpy(units.data(), bytes.data(), trie_bytes);
  check_trie(units, bytes.size() - trie_bytes);
}

}  // namespace tessera
