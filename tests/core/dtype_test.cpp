#include "core/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "tests/support/rounding.h"

namespace tessera {
namespace {

using reference::NumberFormat;

template <class T>
struct Expected;
template <>
struct Expected<f16> {
  static constexpr NumberFormat format = reference::kF16;
  static constexpr int exponent_bits = 5;
};
template <>
struct Expected<bf16> {
  static constexpr NumberFormat format = reference::kBF16;
  static constexpr int exponent_bits = 8;
};
template <>
struct Expected<e4m3> {
  static constexpr NumberFormat format = reference::kE4M3;
  static constexpr int exponent_bits = 4;
};
template <>
struct Expected<e5m2> {
  static constexpr NumberFormat format = reference::kE5M2;
  static constexpr int exponent_bits = 5;
};

template <class T>
class SmallFloat : public ::testing::Test {};
using SmallFloats = ::testing::Types<f16, bf16, e4m3, e5m2>;
TYPED_TEST_SUITE(SmallFloat, SmallFloats);

template <class T>
constexpr uint32_t kPatterns = 1u << (8 * sizeof(T));

template <class T>
T from_pattern(uint32_t bits) {
  return T{decltype(T::bits)(bits)};
}

// The value of a bit pattern by the definition of binary floating point.
template <class T>
double value_of(uint32_t bits) {
  const NumberFormat f = Expected<T>::format;
  const int mantissa_bits = f.significand_bits - 1;
  const int exponent = int(bits >> mantissa_bits) & ((1 << Expected<T>::exponent_bits) - 1);
  const int mantissa = int(bits & ((1u << mantissa_bits) - 1));
  const double sign = bits >> (8 * sizeof(T) - 1) ? -1 : 1;
  const bool top = exponent == (1 << Expected<T>::exponent_bits) - 1;
  if (f.has_infinity && top) return mantissa ? NAN : sign * INFINITY;
  if (!f.has_infinity && top && mantissa == (1 << mantissa_bits) - 1) return NAN;
  const double significand =
      exponent ? 1 + std::ldexp(mantissa, -mantissa_bits) : std::ldexp(mantissa, -mantissa_bits);
  return sign * std::ldexp(significand, std::max(exponent, 1) - 1 + f.min_exponent);
}

TYPED_TEST(SmallFloat, DecodesEveryPattern) {
  for (uint32_t bits = 0; bits < kPatterns<TypeParam>; ++bits) {
    const double decoded = to_float(from_pattern<TypeParam>(bits)),
                 value = value_of<TypeParam>(bits);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(decoded)) << std::hex << bits;
    } else {
      EXPECT_EQ(decoded, value) << std::hex << bits;
      EXPECT_EQ(std::signbit(decoded), std::signbit(value)) << std::hex << bits;
    }
  }
}

// The 8-bit types saturate, so that their infinities become the largest finite value.
TYPED_TEST(SmallFloat, EveryFiniteValueRoundTrips) {
  for (uint32_t bits = 0; bits < kPatterns<TypeParam>; ++bits) {
    const float decoded = to_float(from_pattern<TypeParam>(bits));
    const TypeParam again = from_float<TypeParam>(decoded);
    if (std::isnan(decoded)) {
      EXPECT_TRUE(std::isnan(to_float(again))) << std::hex << bits;
    } else if (std::isfinite(decoded) || sizeof(TypeParam) == 2) {
      EXPECT_EQ(uint32_t(again.bits), bits);
    } else {
      EXPECT_EQ(to_float(again), std::copysign(57344.f, decoded));
    }
  }
}

template <class T>
void expect_rounded(float x) {
  double expected = reference::round_to(Expected<T>::format, x);
  if (sizeof(T) == 1 && !std::isfinite(expected))
    expected = std::copysign(Expected<T>::format.max_finite, x);
  EXPECT_EQ(double(to_float(from_float<T>(x))), expected) << std::hexfloat << x;
}

TYPED_TEST(SmallFloat, RoundsToNearestEvenAroundEveryValue) {
  for (uint32_t bits = 0; bits < kPatterns<TypeParam>; ++bits) {
    const float value = to_float(from_pattern<TypeParam>(bits));
    if (!std::isfinite(value)) continue;
    const double half_step = reference::unit_in_last_place(Expected<TypeParam>::format, value) / 2;
    const float tie = float(value + std::copysign(half_step, value));
    for (float x : {tie, std::nextafter(tie, 0.f), std::nextafter(tie, INFINITY)})
      expect_rounded<TypeParam>(x);
  }
}

TYPED_TEST(SmallFloat, RoundsAnyBitsOfAFloat) {
  const Philox philox(1, purpose_id("dtype_test"), 0);
  for (int i = 0; i < 200000; ++i) {
    const float x = std::bit_cast<float>(philox.bits(i));
    if (!std::isnan(x)) expect_rounded<TypeParam>(x);
  }
}

TYPED_TEST(SmallFloat, SpecialValues) {
  EXPECT_TRUE(std::isnan(to_float(from_float<TypeParam>(NAN))));
  // A NaN whose payload lies in the bits that are cut off.
  EXPECT_TRUE(std::isnan(to_float(from_float<TypeParam>(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::signbit(to_float(from_float<TypeParam>(-0.f))));
  const double largest = Expected<TypeParam>::format.max_finite;
  const double beyond = sizeof(TypeParam) == 1 ? largest : INFINITY;
  EXPECT_EQ(to_float(from_float<TypeParam>(INFINITY)), beyond);
  EXPECT_EQ(to_float(from_float<TypeParam>(-INFINITY)), -beyond);
  EXPECT_EQ(to_float(from_float<TypeParam>(3.4e38f)), beyond);
}

TEST(DType, NamesAndSizes) {
  const std::pair<std::string_view, size_t> expected[] = {{"f32", 4},  {"f64", 8},  {"f16", 2},
                                                          {"bf16", 2}, {"e4m3", 1}, {"e5m2", 1},
                                                          {"i32", 4},  {"i64", 8},  {"u8", 1}};
  for (size_t i = 0; i < std::size(expected); ++i) {
    EXPECT_EQ(name_of(DType(i)), expected[i].first);
    EXPECT_EQ(size_of(DType(i)), expected[i].second);
  }
  EXPECT_EQ(fmt::format("{}", DType::bf16), "bf16");
}

TEST(DType, DispatchComputeGivesTheStorageTypeOrNamesTheOp) {
  const auto size = [](DType dtype) {
    return dispatch_compute("scale", dtype, []<class T>() { return dtype_of<T>; });
  };
  for (DType dtype : {DType::f32, DType::bf16, DType::f64}) EXPECT_EQ(size(dtype), dtype);
  try {
    size(DType::e4m3);
    FAIL() << "e4m3 was accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "scale: dtype e4m3 is not supported; use f32, bf16 or f64");
  }
}

}  // namespace
}  // namespace tessera
