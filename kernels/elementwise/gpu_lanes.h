// Groups of neighbouring elements, for the .cu files of memory-bound kernels: a thread loads and
// stores a group in accesses of up to 16 bytes and computes in f32 (f64 for f64).
//
//   sweep<kLanes>(n, [=](int64_t i, auto lanes) {
//     auto x = load(data + i, lanes);
//     for (int k = 0; k < lanes; ++k) x.v[k] *= factor;
//     store(data + i, x);
//   });
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "kernels/launch/gpu/device.h"
#include "kernels/launch/gpu/launch.h"

namespace tessera {
namespace {

template <int N>
using Count = std::integral_constant<int, N>;

template <class T, int N>
struct Lanes {
  T v[N];
};

constexpr int kAccessBytes = 16;  // of the widest load and store
// Elements of T in one access.
template <class T>
inline constexpr int kLanesOf = kAccessBytes / int(sizeof(T));

// p is a multiple of the group's bytes, or of 16 where it has more.
template <class S, int N>
__device__ inline Lanes<gpu::Wide<S>, N> load(const S* p, Count<N>) {
  const auto vector = gpu::load_vector<S, N>(p);
  Lanes<gpu::Wide<S>, N> lanes;
#pragma unroll
  for (int k = 0; k < N; ++k) lanes.v[k] = gpu::widen(vector.v[k]);
  return lanes;
}

// Rounded to nearest even.
template <class S, int N>
__device__ inline void store(S* p, const Lanes<gpu::Wide<S>, N>& lanes) {
  gpu::Vector<S, N> vector;
#pragma unroll
  for (int k = 0; k < N; ++k) vector.v[k] = gpu::narrow<S>(lanes.v[k]);
  gpu::store_global(p, vector);
}

// Sweeps over n elements: a block takes kSweepGroups groups of lanes. 2048 threads of an SM with an
// access in flight each are 32 KiB, about what 4.8 TB/s and 0.8 us of latency ask of each of 132.
constexpr int kSweepThreads = 256;
constexpr int64_t kSweepGroups = 4 * kSweepThreads;

constexpr unsigned sweep_blocks(int64_t n, int lanes) {
  return unsigned((n + kSweepGroups * lanes - 1) / (kSweepGroups * lanes));
}

// The part of a sweep by block `block` of sweep_blocks(n, N): calls body(i, Count<N>) for
// i = 0, N, 2 N, ... while N elements are left, then body(i, Count<1>) for each that remains.
template <int N, class Body>
__device__ inline void sweep_part(int64_t block, int64_t n, const Body& body) {
  const int64_t groups = n / N, thread = gpu::thread_index().x;
#pragma unroll
  for (int64_t k = 0; k < kSweepGroups; k += kSweepThreads) {
    const int64_t group = block * kSweepGroups + k + thread;
    if (group < groups) body(group * N, Count<N>{});
  }
  if constexpr (N > 1) {
    const int64_t rest = groups * N + thread;
    if (block == groups / kSweepGroups && rest < n) body(rest, Count<1>{});
  }
}

// For a grid of x = sweep_blocks(n, N) blocks of kSweepThreads.
template <int N, class Body>
__device__ inline void sweep(int64_t n, const Body& body) {
  sweep_part<N>(gpu::block_index().x, n, body);
}

// Whether groups of `lanes` elements from each of the pointers on may be accessed whole.
inline bool are_aligned(std::initializer_list<const void*> pointers, size_t bytes = kAccessBytes) {
  return std::all_of(pointers.begin(), pointers.end(), [bytes](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % bytes == 0;
  });
}

}  // namespace
}  // namespace tessera
