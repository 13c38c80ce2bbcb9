// Conversions between float and the small formats, and vector loads and stores, on CUDA. Included
// by device.cuh.
#pragma once

namespace tessera::gpu {
inline namespace on_cuda {

// What arithmetic on storage type S is done in.
template <class S>
using Wide = std::conditional_t<std::is_same_v<S, double>, double, float>;

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(bf16 x) {
  return __uint_as_float(uint32_t(x.bits) << 16);
}
__device__ inline float to_float(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
__device__ inline float to_float(e4m3 x) {
  return e4m3::Format::decode(x.bits);
}
__device__ inline float to_float(e5m2 x) {
  return e5m2::Format::decode(x.bits);
}

template <class S>
__device__ inline Wide<S> widen(S x) {
  if constexpr (std::is_same_v<S, double>) {
    return x;
  } else {
    return to_float(x);
  }
}

// The nearest bf16 in the upper half, anything in the lower: for GPUs without an instruction.
__device__ inline uint32_t rounded_to_bf16(float x) {
  const uint32_t bits = __float_as_uint(x);
  return x == x ? bits + 0x7fffu + (bits >> 16 & 1) : bits | 0x400000u;
}

// Two values in the halves of a register, rounded to nearest even. PTX 9.7.9.21. sm_75 converts one
// value at a time, and bf16 by integer arithmetic.
template <class T>
__device__ inline uint32_t pack(float lo, float hi) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  uint32_t pair;
#if __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, bf16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
  }
#else
  if constexpr (std::is_same_v<T, bf16>) {
    pair = __byte_perm(rounded_to_bf16(lo), rounded_to_bf16(hi), 0x7632);
  } else {
    asm("{\n.reg .b16 l, h;\ncvt.rn.f16.f32 l, %2;\ncvt.rn.f16.f32 h, %1;\n"
        "mov.b32 %0, {l, h};\n}"
        : "=r"(pair)
        : "f"(hi), "f"(lo));
  }
#endif
  return pair;
}
template <class T>
__device__ inline void unpack(uint32_t pair, float& lo, float& hi) {
  lo = to_float(T{uint16_t(pair)});
  hi = to_float(T{uint16_t(pair >> 16)});
}

// Rounds to nearest even; the 8-bit formats saturate. The constraint makes this one win over
// tessera::from_float where a using directive shows both.
template <class T>
requires(sizeof(T) > 0) __device__ inline T from_float(float x) {
  if constexpr (std::is_floating_point_v<T>) {
    return T(x);
  } else if constexpr (sizeof(T) == 2) {
    return T{uint16_t(pack<T>(x, 0.0f))};
  } else {
#if __CUDA_ARCH__ >= 890
    uint16_t pair;
    if constexpr (std::is_same_v<T, e4m3>) {
      asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    } else {
      asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    }
    return T{uint8_t(pair)};
#else
    return T{uint8_t(T::Format::encode(x))};
#endif
  }
}

template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T v[N];
};

// The unit that a Vector of `bytes` moves in.
template <int bytes>
using VectorAccess = std::conditional_t<
    bytes % 16 == 0, uint4,
    std::conditional_t<bytes == 8, uint2,
                       std::conditional_t<bytes == 4, uint32_t,
                                          std::conditional_t<bytes == 2, uint16_t, uint8_t>>>>;

// Copies a Vector by `access(to, from)`, a unit at a time.
template <class Vec, class To, class From, class Access>
__device__ inline void move_vector(To* to, From* from, Access access) {
  using Unit = VectorAccess<int(sizeof(Vec))>;
#pragma unroll
  for (int i = 0; i < int(sizeof(Vec) / sizeof(Unit)); ++i)
    access(reinterpret_cast<Unit*>(to) + i, reinterpret_cast<const Unit*>(from) + i);
}

// One access of up to 16 bytes, or several of 16; the pointer is aligned to the whole Vector, or to
// 16 bytes where that is larger.
template <class T, int N>
__device__ inline Vector<T, N> load_vector(const T* p) {
  Vector<T, N> vector;
  move_vector<Vector<T, N>>(&vector, p, [](auto* to, const auto* from) { *to = *from; });
  return vector;
}
template <class T, int N>
__device__ inline void store_vector(T* p, const Vector<T, N>& vector) {
  move_vector<Vector<T, N>>(p, &vector, [](auto* to, const auto* from) { *to = *from; });
}

// store_vector() to global memory. Left to the compiler, a vector that was computed in parts may go
// out in parts of 4 bytes.
template <class T>
__device__ inline void store_global_unit(T* to, const T& from) {
  *to = from;
}
__device__ inline void store_global_unit(uint4* to, const uint4& from) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
               "r"(from.x), "r"(from.y), "r"(from.z), "r"(from.w)
               : "memory");
}
__device__ inline void store_global_unit(uint2* to, const uint2& from) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(from.x),
               "r"(from.y)
               : "memory");
}
template <class T, int N>
__device__ inline void store_global(T* p, const Vector<T, N>& vector) {
  move_vector<Vector<T, N>>(p, &vector,
                            [](auto* to, const auto* from) { store_global_unit(to, *from); });
}
// The same in global memory for data that is touched once: first to leave the caches (ld.global.cs,
// st.global.cs).
template <class T, int N>
__device__ inline Vector<T, N> load_streaming(const T* p) {
  Vector<T, N> vector;
  move_vector<Vector<T, N>>(&vector, p, [](auto* to, const auto* from) { *to = __ldcs(from); });
  return vector;
}
template <class T, int N>
__device__ inline void store_streaming(T* p, const Vector<T, N>& vector) {
  move_vector<Vector<T, N>>(p, &vector, [](auto* to, const auto* from) { __stcs(to, *from); });
}

}  // namespace on_cuda
}  // namespace tessera::gpu
