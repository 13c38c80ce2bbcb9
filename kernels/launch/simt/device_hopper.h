// What sm_90a adds: mbarriers, TMA, wgmma and setmaxnreg; see device.h.
#pragma once

#include <cstdint>

#include "kernels/launch/gpu/tensor_layout.h"
#include "kernels/launch/simt/bulk_copy.h"
#include "kernels/launch/simt/device_matrix.h"
#include "kernels/launch/simt/mbarrier.h"
#include "kernels/launch/simt/wgmma.h"

namespace tessera::gpu {
inline namespace on_simt {

inline void mbarrier_init(uint64_t* barrier, uint32_t arrivals,
                          simt::Site site = simt::Site::here()) {
  simt::mbarrier_init(barrier, arrivals, site);
}
inline void mbarrier_arrive(uint64_t* barrier, simt::Site site = simt::Site::here()) {
  simt::mbarrier_arrive(barrier, 0, site);
}
inline void mbarrier_arrive_expect_tx(uint64_t* barrier, uint32_t bytes,
                                      simt::Site site = simt::Site::here()) {
  simt::mbarrier_arrive(barrier, bytes, site);
}
inline bool mbarrier_try_wait(uint64_t* barrier, uint32_t parity,
                              simt::Site site = simt::Site::here()) {
  return simt::mbarrier_try_wait(barrier, parity, site);
}
inline void mbarrier_wait(uint64_t* barrier, uint32_t parity,
                          simt::Site site = simt::Site::here()) {
  simt::mbarrier_wait(barrier, parity, site);
}
inline void fence_mbarrier_init(simt::Site site = simt::Site::here()) {
  simt::fence_mbarrier_init(site);
}
inline void fence_proxy_async(simt::Site site = simt::Site::here()) {
  simt::fence_proxy_async(site);
}

using simt::TensorMap;

// The tensor of T at `base` (16-byte aligned). Host side; throws Error for a layout that TMA cannot
// take.
template <class T>
TensorMap encode_tensor_map(const T* base, const TensorLayout& layout) {
  return simt::encode_tensor_map(dtype_of<T>, base, layout);
}

// Between the box of the tensor at (x, y, ...), innermost first, and shared memory. Elements
// outside of the tensor are read as zeros and not written. Loads complete box bytes on the
// mbarrier.
inline void tma_load_2d(void* dst, const TensorMap& map, uint64_t* barrier, int x, int y,
                        simt::Site site = simt::Site::here()) {
  simt::tma_load(dst, map, barrier, 2, {x, y}, site);
}
inline void tma_load_3d(void* dst, const TensorMap& map, uint64_t* barrier, int x, int y, int z,
                        simt::Site site = simt::Site::here()) {
  simt::tma_load(dst, map, barrier, 3, {x, y, z}, site);
}
inline void tma_load_4d(void* dst, const TensorMap& map, uint64_t* barrier, int x, int y, int z,
                        int w, simt::Site site = simt::Site::here()) {
  simt::tma_load(dst, map, barrier, 4, {x, y, z, w}, site);
}
inline void tma_store_2d(const TensorMap& map, const void* src, int x, int y,
                         simt::Site site = simt::Site::here()) {
  simt::tma_store(simt::BulkKind::store, map, src, 2, {x, y}, site);
}
inline void tma_store_3d(const TensorMap& map, const void* src, int x, int y, int z,
                         simt::Site site = simt::Site::here()) {
  simt::tma_store(simt::BulkKind::store, map, src, 3, {x, y, z}, site);
}
inline void tma_store_4d(const TensorMap& map, const void* src, int x, int y, int z, int w,
                         simt::Site site = simt::Site::here()) {
  simt::tma_store(simt::BulkKind::store, map, src, 4, {x, y, z, w}, site);
}
inline void tma_reduce_add_2d(const TensorMap& map, const void* src, int x, int y,
                              simt::Site site = simt::Site::here()) {
  simt::tma_store(simt::BulkKind::reduce_add, map, src, 2, {x, y}, site);
}
inline void tma_reduce_add_3d(const TensorMap& map, const void* src, int x, int y, int z,
                              simt::Site site = simt::Site::here()) {
  simt::tma_store(simt::BulkKind::reduce_add, map, src, 3, {x, y, z}, site);
}
inline void tma_reduce_add_4d(const TensorMap& map, const void* src, int x, int y, int z, int w,
                              simt::Site site = simt::Site::here()) {
  simt::tma_store(simt::BulkKind::reduce_add, map, src, 4, {x, y, z, w}, site);
}
inline void tma_prefetch(const TensorMap&) {}
// Stores and reductions of a thread since its last commit make a group.
inline void tma_commit(simt::Site site = simt::Site::here()) {
  simt::tma_commit(site);
}
// Until at most the N latest groups of the thread are under way; _read: until they have read
// shared memory.
template <int N>
void tma_wait(simt::Site site = simt::Site::here()) {
  simt::tma_wait(N, site);
}
template <int N>
void tma_wait_read(simt::Site site = simt::Site::here()) {
  simt::tma_wait(N, site);
}

inline void wgmma_fence(simt::Site site = simt::Site::here()) {
  simt::wgmma_fence(site);
}
inline void wgmma_commit(simt::Site site = simt::Site::here()) {
  simt::wgmma_commit(site);
}
template <int N>
void wgmma_wait(simt::Site site = simt::Site::here()) {
  simt::wgmma_wait(N, site);
}

// d[64, N] = a[64, K] b[K, N] + (accumulate ? d : 0), K of 32 bytes. Operands by matrix_descriptor,
// or a in registers laid out as for mma.sync.
template <int N, class A = bf16, class B = A, Major kA = Major::k, Major kB = Major::k>
void wgmma_ss(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate,
              simt::Site site = simt::Site::here()) {
  simt::wgmma({.d = d,
               .a = nullptr,
               .a_descriptor = a,
               .b_descriptor = b,
               .n = N,
               .k = 32 / int(sizeof(A)),
               .a_type = matrix_type<A>(),
               .b_type = matrix_type<B>(),
               .accumulate = accumulate,
               .a_mn_major = kA == Major::mn,
               .b_mn_major = kB == Major::mn},
              site);
}
template <int N, class A = bf16, class B = A, Major kB = Major::k>
void wgmma_rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate,
              simt::Site site = simt::Site::here()) {
  simt::wgmma({.d = d,
               .a = a,
               .a_descriptor = 0,
               .b_descriptor = b,
               .n = N,
               .k = 32 / int(sizeof(A)),
               .a_type = matrix_type<A>(),
               .b_type = matrix_type<B>(),
               .accumulate = accumulate,
               .a_mn_major = false,
               .b_mn_major = kB == Major::mn},
              site);
}

// The registers of each thread of the warp; an increase waits until other warps gave theirs up.
template <int N>
void set_max_registers_inc(simt::Site site = simt::Site::here()) {
  simt::set_max_registers(N, true, site);
}
template <int N>
void set_max_registers_dec(simt::Site site = simt::Site::here()) {
  simt::set_max_registers(N, false, site);
}

}  // namespace on_simt
}  // namespace tessera::gpu
