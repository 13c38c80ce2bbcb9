// Arithmetic, conversions and vector accesses; see device.h.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/dtype.h"
#include "kernels/launch/simt/device_shared.h"
#include "kernels/launch/simt/site.h"

namespace tessera::gpu {
inline namespace on_simt {

// Subnormal operands and results of the approximations count as 0.
constexpr float flush_subnormal(float x) {
  return std::bit_cast<uint32_t>(x) & 0x7f800000u
             ? x
             : std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0x80000000u);
}
inline float exp2_approx(float x) {
  return flush_subnormal(std::exp2(flush_subnormal(x)));
}
inline float log2_approx(float x) {
  return std::log2(flush_subnormal(x));
}
inline float rsqrt_approx(float x) {
  return 1.0f / std::sqrt(flush_subnormal(x));
}
inline float rcp_approx(float x) {
  return flush_subnormal(1.0f / flush_subnormal(x));
}

// min and max return the other operand where one is NaN.
template <class T>
T fma(T a, T b, T c) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::fma(a, b, c);
  } else {
    return a * b + c;
  }
}
template <class T>
T min(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a < b || b != b ? a : b;
  } else {
    return b < a ? b : a;
  }
}
template <class T>
T max(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a > b || b != b ? a : b;
  } else {
    return a < b ? b : a;
  }
}

constexpr uint32_t bits(float x) {
  return std::bit_cast<uint32_t>(x);
}
constexpr float from_bits(uint32_t x) {
  return std::bit_cast<float>(x);
}
constexpr uint32_t mul_hi(uint32_t a, uint32_t b) {
  return uint32_t(uint64_t(a) * b >> 32);
}

using tessera::from_float;
using tessera::to_float;

// What arithmetic on storage type S is done in.
template <class S>
using Wide = std::conditional_t<std::is_same_v<S, double>, double, float>;

template <class S>
constexpr Wide<S> widen(S x) {
  if constexpr (std::is_same_v<S, double>) {
    return x;
  } else {
    return to_float(x);
  }
}

// Two values in the halves of a register, rounded to nearest even.
template <class T>
constexpr uint32_t pack(float lo, float hi) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  return from_float<T>(lo).bits | uint32_t(from_float<T>(hi).bits) << 16;
}
template <class T>
constexpr void unpack(uint32_t pair, float& lo, float& hi) {
  lo = to_float(T{uint16_t(pair)});
  hi = to_float(T{uint16_t(pair >> 16)});
}

template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T v[N];
};

// Copies a Vector in the units that hardware moves, which is what instrumentation sees. `memory` is
// the side to check.
template <class V>
void move_vector(void* to, const void* from, const void* memory, const char* name,
                 simt::Site site) {
  constexpr size_t kUnit = sizeof(V) < 16 ? sizeof(V) : 16;
  if (reinterpret_cast<uintptr_t>(memory) % kUnit) [[unlikely]] {
    simt::fail_at(site, "{}: address {} is not aligned to {} bytes", name, memory, kUnit);
  }
  for (size_t i = 0; i < sizeof(V); i += kUnit) {
    std::memcpy(static_cast<char*>(to) + i, static_cast<const char*>(from) + i, kUnit);
  }
}

// Accesses of up to 16 bytes: the pointer is aligned to the whole Vector, or to 16 bytes where that
// is larger.
template <class T, int N>
Vector<T, N> load_vector(const T* p, simt::Site site = simt::Site::here()) {
  Vector<T, N> vector;
  move_vector<Vector<T, N>>(&vector, p, p, "load_vector", site);
  return vector;
}
template <class T, int N>
void store_vector(T* p, const Vector<T, N>& vector, simt::Site site = simt::Site::here()) {
  move_vector<Vector<T, N>>(p, &vector, p, "store_vector", site);
}
// The same for global memory alone.
template <class T, int N>
void store_global(T* p, const Vector<T, N>& vector, simt::Site site = simt::Site::here()) {
  simt::refuse_shared(p, "store_global", site);
  store_vector(p, vector, site);
}
template <class T, int N>
Vector<T, N> load_streaming(const T* p, simt::Site site = simt::Site::here()) {
  simt::refuse_shared(p, "load_streaming", site);
  return load_vector<T, N>(p, site);
}
template <class T, int N>
void store_streaming(T* p, const Vector<T, N>& vector, simt::Site site = simt::Site::here()) {
  simt::refuse_shared(p, "store_streaming", site);
  store_vector(p, vector, site);
}

}  // namespace on_simt
}  // namespace tessera::gpu
