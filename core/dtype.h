// Element types: storage structs for the small formats, their conversions, names, sizes and
// dispatch.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"

namespace tessera {

enum class DType : uint8_t { f32, f64, f16, bf16, e4m3, e5m2, i32, i64, u8 };

// A binary floating-point format of 1 sign, E exponent and M mantissa bits. Conversion from float
// rounds to nearest even. Formats with infinity (f16, bf16) overflow to it; the 8-bit ones saturate
// at their largest finite value ("OCP 8-bit Floating Point Specification", 2023; e4m3 has no
// infinity and one NaN pattern).
template <int E, int M, bool kSaturate, bool kHasInf>
struct FloatFormat {
  static constexpr int kBias = (1 << (E - 1)) - 1;
  static constexpr uint32_t kSign = 1u << (E + M);
  static constexpr uint32_t kInf = ((1u << E) - 1) << M;
  static constexpr uint32_t kNaN = kHasInf ? kInf | (1u << (M - 1)) : kSign - 1;
  static constexpr uint32_t kMaxFinite = kHasInf ? kInf - 1 : kNaN - 1;

  static constexpr uint32_t encode(float x) {
    const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7fffffffu;
    const uint32_t sign = bits >> 31 ? kSign : 0;
    if (magnitude > 0x7f800000u) return sign | kNaN;
    const int exponent = int(magnitude >> 23) - 127 + kBias;
    int shift = 23 - M + (exponent <= 0 ? 1 - exponent : 0);
    if (shift > 25) shift = 25;  // below half the smallest subnormal: rounds to zero
    const uint32_t mantissa = (magnitude & 0x7fffffu) | (magnitude >= 0x800000u ? 0x800000u : 0);
    const uint32_t odd = (mantissa >> shift) & 1;
    const uint32_t rounded = (mantissa + (1u << (shift - 1)) - 1 + odd) >> shift;
    // `rounded` still holds the implicit one, so that a carry moves into the exponent by itself.
    const uint32_t result = exponent <= 0 ? rounded : (uint32_t(exponent - 1) << M) + rounded;
    if (result > kMaxFinite || magnitude == 0x7f800000u)
      return sign | (kSaturate ? kMaxFinite : kInf);
    return sign | result;
  }

  static constexpr float decode(uint32_t bits) {
    const uint32_t sign = bits & kSign ? 0x80000000u : 0, magnitude = bits & (kSign - 1);
    if (magnitude > kMaxFinite) {
      return std::bit_cast<float>(sign |
                                  (kHasInf && magnitude == kInf ? 0x7f800000u : 0x7fc00000u));
    }
    const uint32_t exponent = magnitude >> M, mantissa = magnitude & ((1u << M) - 1);
    if (exponent == 0) {  // subnormal: mantissa * 2^(1 - bias - M)
      const float value =
          float(mantissa) * std::bit_cast<float>(uint32_t(127 + 1 - kBias - M) << 23);
      return sign ? -value : value;
    }
    return std::bit_cast<float>(sign | ((exponent + 127 - kBias) << 23) | (mantissa << (23 - M)));
  }
};

struct f16 {
  using Format = FloatFormat<5, 10, false, true>;
  uint16_t bits;
};
struct e4m3 {
  using Format = FloatFormat<4, 3, true, false>;
  uint8_t bits;
};
struct e5m2 {
  using Format = FloatFormat<5, 2, true, true>;
  uint8_t bits;
};
struct bf16 {
  uint16_t bits;
};

template <class T>
constexpr float to_float(T x) {
  return T::Format::decode(x.bits);
}
template <>
constexpr float to_float(bf16 x) {
  return std::bit_cast<float>(uint32_t(x.bits) << 16);
}
template <>
constexpr float to_float(float x) {
  return x;
}
template <>
constexpr float to_float(double x) {
  return float(x);
}

template <class T>
constexpr T from_float(float x) {
  return T{decltype(T::bits)(T::Format::encode(x))};
}
template <>
constexpr bf16 from_float(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {uint16_t(bits >> 16 | 0x40u)};
  return {uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}
template <>
constexpr float from_float(float x) {
  return x;
}
template <>
constexpr double from_float(float x) {
  return x;
}

constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::e4m3:
    case DType::e5m2:
    case DType::u8:
      return 1;
  }
  return 0;
}

constexpr std::string_view name_of(DType dtype) {
  constexpr std::string_view kNames[] = {"f32",  "f64", "f16", "bf16", "e4m3",
                                         "e5m2", "i32", "i64", "u8"};
  return kNames[size_t(dtype)];
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<e4m3> {
  static constexpr DType value = DType::e4m3;
};
template <>
struct DTypeOf<e5m2> {
  static constexpr DType value = DType::e5m2;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

// Calls body.template operator()<T>() with the storage type of `dtype`, one of the types the CPU
// kernels compute with: f32, bf16 (computed in f32) and f64 (for gradient checks).
template <class Body>
decltype(auto) dispatch_compute(std::string_view op, DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body.template operator()<float>();
    case DType::bf16:
      return body.template operator()<bf16>();
    case DType::f64:
      return body.template operator()<double>();
    default:
      fail("{}: dtype {} is not supported; use f32, bf16 or f64", op, name_of(dtype));
  }
}

}  // namespace tessera

template <>
struct fmt::formatter<tessera::DType> : fmt::formatter<std::string_view> {
  auto format(tessera::DType dtype, format_context& ctx) const {
    return fmt::formatter<std::string_view>::format(tessera::name_of(dtype), ctx);
  }
};
