// The functions of kernels/launch/gpu/device.h in the emulator. Where a check may fail, the last
// parameter is the place of the call in the kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/launch/simt/atomics.h"
#include "kernels/launch/simt/barrier.h"
#include "kernels/launch/simt/collective.h"
#include "kernels/launch/simt/device_shared.h"
#include "kernels/launch/simt/thread_view.h"

#define __global__
#define __device__
#define __grid_constant__
#define __launch_bounds__(...)

namespace tessera::gpu {
inline namespace on_simt {

using simt::Index3;
using simt::Site;

inline Index3 thread_index() {
  return simt::current_thread->thread_index;
}
inline Index3 block_index() {
  return simt::current_thread->block_index;
}
inline Index3 block_size() {
  return simt::current_thread->block_size;
}
inline Index3 grid_size() {
  return simt::current_thread->grid_size;
}

constexpr int kWarpSize = 32;
constexpr uint32_t kFullMask = 0xffffffffu;

inline int lane() {
  return simt::current_thread->lane;
}
inline int warp() {
  return simt::current_thread->warp_index;
}

inline void sync_block(Site site = Site::here()) {
  simt::sync_block(site);
}
inline void sync_warp(uint32_t mask = kFullMask, Site site = Site::here()) {
  simt::sync_warp(mask, site);
}
// Barriers 0..15; `threads` arrive in a phase, whole warps of them.
inline void barrier_sync(int id, int threads, Site site = Site::here()) {
  simt::barrier_sync(id, threads, site);
}
inline void barrier_arrive(int id, int threads, Site site = Site::here()) {
  simt::barrier_arrive(id, threads, site);
}

// All lanes exchange values: each gets that of lane source(own lane), or its own where that is out
// of the warp.
template <class T, class Source>
T exchange(const char* name, T value, Site site, Source source) {
  struct Exchange {
    T in, out;
    int source;
  } mine{value, value, source(lane())};
  simt::collective({.name = name}, mine, site, [](auto table) {
    for (int l = 0; l < kWarpSize; ++l) {
      const int from = table(l)->source;
      if (from >= 0 && from < kWarpSize) table(l)->out = table(from)->in;
    }
  });
  return mine.out;
}

template <class T>
T shuffle(T v, int source_lane, Site site = Site::here()) {
  return exchange("shuffle", v, site, [=](int) { return source_lane & (kWarpSize - 1); });
}
template <class T>
T shuffle_xor(T v, int mask, Site site = Site::here()) {
  return exchange("shuffle_xor", v, site, [=](int l) { return l ^ mask; });
}
template <class T>
T shuffle_down(T v, unsigned delta, Site site = Site::here()) {
  return exchange("shuffle_down", v, site, [=](int l) { return l + int(delta); });
}
template <class T>
T shuffle_up(T v, unsigned delta, Site site = Site::here()) {
  return exchange("shuffle_up", v, site, [=](int l) { return l - int(delta); });
}

// Bit l is lane l's vote.
inline uint32_t ballot(bool vote, Site site = Site::here()) {
  struct Vote {
    bool mine;
    uint32_t result;
  } mine{vote, 0};
  simt::collective({.name = "ballot"}, mine, site, [](auto table) {
    uint32_t votes = 0;
    for (int l = 0; l < kWarpSize; ++l) votes |= uint32_t(table(l)->mine) << l;
    for (int l = 0; l < kWarpSize; ++l) table(l)->result = votes;
  });
  return mine.result;
}
inline bool any(bool vote, Site site = Site::here()) {
  return ballot(vote, site) != 0;
}
inline bool all(bool vote, Site site = Site::here()) {
  return ballot(vote, site) == kFullMask;
}

// True in one lane of the warp.
inline bool elect_one(Site site = Site::here()) {
  char nothing = 0;
  simt::collective({.name = "elect_one"}, nothing, site, [](auto) {});
  return lane() == 0;
}

// Return the value before.
inline int32_t atomic_add(int32_t* p, int32_t v, Site site = Site::here()) {
  return simt::atomic_add(p, v, site);
}
inline uint32_t atomic_add(uint32_t* p, uint32_t v, Site site = Site::here()) {
  return simt::atomic_add(p, v, site);
}
inline uint64_t atomic_add(uint64_t* p, uint64_t v, Site site = Site::here()) {
  return simt::atomic_add(p, v, site);
}
inline float atomic_add(float* p, float v, Site site = Site::here()) {
  return simt::atomic_add(p, v, site);
}
inline uint32_t atomic_max(uint32_t* p, uint32_t v, Site site = Site::here()) {
  return simt::atomic_max(p, v, site);
}
inline void thread_fence(Site site = Site::here()) {
  simt::thread_fence(site);
}

}  // namespace on_simt
}  // namespace tessera::gpu

#include "kernels/launch/simt/device_async.h"
#include "kernels/launch/simt/device_hopper.h"
#include "kernels/launch/simt/device_matrix.h"
#include "kernels/launch/simt/device_values.h"
