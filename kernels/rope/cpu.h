// The RoPE loop of one instruction-set level.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "core/isa.h"

namespace tessera {

// The type of cosines and sines for storage type S.
template <class S>
using RopeAngle = std::conditional_t<std::is_same_v<S, double>, double, float>;

template <class S>
struct RopeCpu {
  const S* x;                    // [rows, columns]
  S* y;                          // [rows, columns], may be x
  const int32_t* positions;      // [rows]
  const RopeAngle<S>*cos, *sin;  // [positions, half]
  int64_t rows, columns;
  int64_t heads, half;     // rotated heads, each of 2 * half columns
  RopeAngle<S> direction;  // 1, or -1 for the opposite angles
};

template <class S>
using RopeLoop = void (*)(int threads, const RopeCpu<S>&);
template <Isa isa, class S>
RopeLoop<S> rope_cpu();

}  // namespace tessera
