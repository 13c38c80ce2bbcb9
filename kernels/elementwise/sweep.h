// Loops over arrays by vectors, for the files that are compiled per instruction-set level.
//
//   sweep<V>(n, [&](int64_t i, auto width) {
//     store(load<V>(x + i, width) * factor, x + i, width);
//   });
#pragma once

#include "kernels/launch/cpu/simd.h"

namespace tessera {
namespace {

// The width of a vector that lies inside the array; the last one may have an int of lanes instead.
struct Whole {};

template <class V, class S>
TESSERA_INLINE V load(const S* p, Whole) {
  return V::load(p);
}
template <class V, class S>
TESSERA_INLINE V load(const S* p, int lanes) {
  return V::load_first(p, lanes);
}
template <class V, class S>
TESSERA_INLINE void store(V v, S* p, Whole) {
  v.store(p);
}
template <class V, class S>
TESSERA_INLINE void store(V v, S* p, int lanes) {
  v.store_first(p, lanes);
}

// Calls body(i, width) for i = 0, kLanes, 2 kLanes, ... below n.
template <class V, class Body>
TESSERA_INLINE void sweep(int64_t n, const Body& body) {
  int64_t i = 0;
#pragma GCC unroll 2
  for (; i + V::kLanes <= n; i += V::kLanes) body(i, Whole{});
  if (i < n) body(i, int(n - i));
}

}  // namespace
}  // namespace tessera
