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

// The sum of what body(i, width, sum) adds to `sum` for all i, in four partial sums that do not
// wait for each other.
template <class V, class Body>
TESSERA_INLINE typename V::Scalar sweep_sum(int64_t n, const Body& body) {
  constexpr int64_t kStep = 4 * V::kLanes;
  V a = V::zero(), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    body(i, Whole{}, a);
    body(i + V::kLanes, Whole{}, b);
    body(i + 2 * V::kLanes, Whole{}, c);
    body(i + 3 * V::kLanes, Whole{}, d);
  }
  for (; i + V::kLanes <= n; i += V::kLanes) body(i, Whole{}, a);
  if (i < n) body(i, int(n - i), b);
  return reduce_add((a + b) + (c + d));
}

}  // namespace
}  // namespace tessera
