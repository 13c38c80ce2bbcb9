// Asynchronous products of a warpgroup (PTX 9.7.15) and its share of the registers. Included by
// hopper.h.
#pragma once

#include "kernels/launch/cuda/wgmma_rs.cuh"
#include "kernels/launch/cuda/wgmma_ss.cuh"

namespace tessera::gpu {
inline namespace on_cuda {

// Orders registers and shared memory before the products that follow.
__device__ inline void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most the N latest groups are under way.
template <int N>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Keeps the compiler from moving what makes or uses d across this place: before wgmma_fence for a d
// that ordinary code has written, else ptxas injects a fence of its own (C7519).
template <int N>
__device__ inline void wgmma_hold(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// Parts of the instruction's name.
template <class A, class B>
struct WgmmaTypes;
template <>
struct WgmmaTypes<bf16, bf16> {
  static constexpr char value[] = "k16.f32.bf16.bf16";
};
template <>
struct WgmmaTypes<f16, f16> {
  static constexpr char value[] = "k16.f32.f16.f16";
};
template <>
struct WgmmaTypes<e4m3, e4m3> {
  static constexpr char value[] = "k32.f32.e4m3.e4m3";
};
template <>
struct WgmmaTypes<e4m3, e5m2> {
  static constexpr char value[] = "k32.f32.e4m3.e5m2";
};
template <>
struct WgmmaTypes<e5m2, e4m3> {
  static constexpr char value[] = "k32.f32.e5m2.e4m3";
};
template <>
struct WgmmaTypes<e5m2, e5m2> {
  static constexpr char value[] = "k32.f32.e5m2.e5m2";
};

// The operands that say whether a and b are transposed; 8-bit types and an a in registers have
// none.
template <Major... majors>
struct WgmmaMajors;
template <>
struct WgmmaMajors<> {
  static constexpr char value[] = "";
};
template <Major b>
struct WgmmaMajors<b> {
  static constexpr char value[] = {',', ' ', b == Major::mn ? '1' : '0', '\0'};
};
template <Major a, Major b>
struct WgmmaMajors<a, b> {
  static constexpr char value[] = {
      ',', ' ', a == Major::mn ? '1' : '0', ',', ' ', b == Major::mn ? '1' : '0', '\0'};
};

// d[64, N] = a[64, K] b[K, N] + (accumulate ? d : 0), K of 32 bytes. Operands by matrix_descriptor,
// or a in registers laid out as for mma.sync. N: see wgmma_ss.cuh.
template <int N, class A = bf16, class B = A, Major kA = Major::k, Major kB = Major::k>
__device__ inline void wgmma_ss(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) {
  if constexpr (sizeof(A) == 1) {
    static_assert(kA == Major::k && kB == Major::k, "8-bit operands are k-major");
    WgmmaSs<N>::template run<WgmmaTypes<A, B>, WgmmaMajors<>>(d, a, b, accumulate);
  } else {
    WgmmaSs<N>::template run<WgmmaTypes<A, B>, WgmmaMajors<kA, kB>>(d, a, b, accumulate);
  }
}
template <int N, class A = bf16, class B = A, Major kB = Major::k>
__device__ inline void wgmma_rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b,
                                bool accumulate) {
  if constexpr (sizeof(A) == 1) {
    static_assert(kB == Major::k, "8-bit operands are k-major");
    WgmmaRs<N>::template run<WgmmaTypes<A, B>, WgmmaMajors<>>(d, a, b, accumulate);
  } else {
    WgmmaRs<N>::template run<WgmmaTypes<A, B>, WgmmaMajors<kB>>(d, a, b, accumulate);
  }
}

// The registers of each thread of the warp; an increase waits until other warps gave theirs up.
// PTX 9.7.19.5. N is a multiple of 8 in 24..256.
template <int N>
__device__ inline void set_max_registers_inc() {
  static_assert(N % 8 == 0 && N >= 24 && N <= 256);
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
__device__ inline void set_max_registers_dec() {
  static_assert(N % 8 == 0 && N >= 24 && N <= 256);
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

}  // namespace on_cuda
}  // namespace tessera::gpu
