// ldmatrix, stmatrix and mma.sync; see device.h.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "kernels/launch/simt/architecture.h"
#include "kernels/launch/simt/matrix.h"

namespace tessera::gpu {
inline namespace on_simt {

inline void ldmatrix_x4(uint32_t (&r)[4], uint32_t address, simt::Site site = simt::Site::here()) {
  simt::ldmatrix(r, address, 4, false, site);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t address,
                              simt::Site site = simt::Site::here()) {
  simt::ldmatrix(r, address, 4, true, site);
}
inline void ldmatrix_x2(uint32_t (&r)[2], uint32_t address, simt::Site site = simt::Site::here()) {
  simt::ldmatrix(r, address, 2, false, site);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t address,
                              simt::Site site = simt::Site::here()) {
  simt::ldmatrix(r, address, 2, true, site);
}
inline void stmatrix_x4(uint32_t address, const uint32_t (&r)[4],
                        simt::Site site = simt::Site::here()) {
  simt::stmatrix(address, r, 4, false, site);
}
inline void stmatrix_x4_trans(uint32_t address, const uint32_t (&r)[4],
                              simt::Site site = simt::Site::here()) {
  simt::stmatrix(address, r, 4, true, site);
}

template <class T>
constexpr simt::MatrixType matrix_type() {
  if constexpr (std::is_same_v<T, bf16>) return simt::MatrixType::bf16;
  if constexpr (std::is_same_v<T, f16>) return simt::MatrixType::f16;
  if constexpr (std::is_same_v<T, e4m3>) return simt::MatrixType::e4m3;
  if constexpr (std::is_same_v<T, e5m2>) return simt::MatrixType::e5m2;
}

// d += a b. On sm_75 f16 runs two products of depth 8.
inline void mma_m16n8k8(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1],
                        simt::Site site = simt::Site::here()) {
  simt::mma({.k = 8, .a = simt::MatrixType::f16, .b = simt::MatrixType::f16}, d, a, b, site);
}
template <class T>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  simt::Site site = simt::Site::here()) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  if (std::is_same_v<T, f16> && simt::architecture("mma", site) < 80) {
    mma_m16n8k8(d, {a[0], a[1]}, {b[0]}, site);
    mma_m16n8k8(d, {a[2], a[3]}, {b[1]}, site);
    return;
  }
  simt::mma({.k = 16, .a = matrix_type<T>(), .b = matrix_type<T>()}, d, a, b, site);
}
template <class A, class B>
void mma_m16n8k32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  simt::Site site = simt::Site::here()) {
  static_assert(sizeof(A) == 1 && sizeof(B) == 1);
  simt::mma({.k = 32, .a = matrix_type<A>(), .b = matrix_type<B>()}, d, a, b, site);
}

}  // namespace on_simt
}  // namespace tessera::gpu
