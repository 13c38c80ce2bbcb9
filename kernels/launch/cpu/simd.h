// Vectors of f32 and f64 for CPU kernels, at the width of the instruction-set level that the
// including file is compiled for (see tessera_isa_sources): AVX-512 16 x f32 or 8 x f64, AVX2 8 x
// f32 or 4 x f64.
//
//   template <class S>  // storage: float, bf16, f16 or double; arithmetic in compute_t<S>
//   void scale(S* x, int64_t n, compute_t<S> factor) {
//     using V = Vec<compute_t<S>>;
//     for (int64_t i = 0; i < n; i += V::kLanes) {
//       const int left = lanes_left<V>(n - i);                    // 1 .. V::kLanes
//       (V::load_first(x + i, left) * V(factor)).store_first(x + i, left);
//     }
//   }
//
// The same header means different code in differently compiled files of one program, so everything
// here has internal linkage. Files compiled per level must keep to that: kernels in an anonymous
// namespace, no standard containers or other inline functions with external linkage (the linker
// would keep one copy, perhaps the wrong one).
#pragma once

// GCC 12 takes the undefined operands in its own AVX-512 intrinsics for mistakes (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>
#include <cstring>

#include "core/dtype.h"

#define TESSERA_INLINE [[gnu::always_inline]] inline

namespace tessera {
namespace {

template <class S>
struct ComputeType {
  using Type = float;
};
template <>
struct ComputeType<double> {
  using Type = double;
};
// The type that arithmetic on storage type S is done in: double for double, else float.
template <class S>
using compute_t = typename ComputeType<S>::Type;

// kLanes values of T with
//   load(p), load_first(p, n), store(p), store_first(p, n): p points to T, and for float also to
//   bf16 or f16, which are
//     widened, and rounded to nearest even. The n first lanes are touched in memory (0 <= n <=
//     kLanes); others load 0.
//   + - * / and unary -, +=, *=; free functions fma, min, max, sqrt, abs, round, reduce_add,
//   reduce_max. less(a, b), first_lanes<V>(n), lanes_between<V>(begin, end): Mask<T>; select(mask,
//   if_true, if_false).
// max(a, b) and min(a, b) return b where either is NaN.
template <class T>
struct Vec;
template <class T>
struct Mask;

}  // namespace
}  // namespace tessera

#ifdef __AVX512F__
#include "kernels/launch/cpu/simd_avx512.h"
#else
#include "kernels/launch/cpu/simd_avx2.h"
#endif
#include "kernels/launch/cpu/simd_math.h"
