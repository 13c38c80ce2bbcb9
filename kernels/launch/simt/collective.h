// Operations that the lanes of a warp execute together.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/launch/simt/site.h"
#include "kernels/launch/simt/state.h"

namespace tessera::simt {

struct CollectiveKind {
  const char* name;
  uint32_t mask = kAllLanes;
  // Whether lanes may come from different places of the program, and are ordered: sync_warp.
  bool any_place = false;
  bool orders_memory = false;
};

// Waits until all lanes of the mask are there. The last one gets the table of their arguments
// (nullptr for lanes outside the mask) and must call leave(); the others get nullptr, after that.
std::array<void*, kLanes>* meet(const CollectiveKind& kind, void* argument, Site site);
void leave(const CollectiveKind& kind);

// Every lane brings `argument`; the last to arrive calls execute(table), where table[lane] points
// to the lane's argument and may be written.
template <class Argument, class Execute>
void collective(const CollectiveKind& kind, Argument& argument, Site site, Execute execute) {
  if (auto* table = meet(kind, &argument, site)) {
    execute([table](int lane) { return static_cast<Argument*>((*table)[size_t(lane)]); });
    leave(kind);
  }
}

void sync_warp(uint32_t mask, Site site);

}  // namespace tessera::simt
