// Elementary functions on Vec. Included by simd.h only. Relative errors: exp2, exp, sigmoid, tanh
// 3e-7 in f32 and 1e-15 in f64; log absolute near 1 and relative elsewhere of that size.
#pragma once

namespace tessera {
namespace {

template <class T>
TESSERA_INLINE Vec<T> operator-(Vec<T> a) {
  return Vec<T>::zero() - a;
}
template <class T>
TESSERA_INLINE Vec<T>& operator+=(Vec<T>& a, Vec<T> b) {
  return a = a + b;
}
template <class T>
TESSERA_INLINE Vec<T>& operator*=(Vec<T>& a, Vec<T> b) {
  return a = a * b;
}

// Lanes of a vector that lie inside an array with `remaining` elements left: min(kLanes, max(0,
// remaining)).
template <class V>
TESSERA_INLINE int lanes_left(int64_t remaining) {
  return remaining >= V::kLanes ? V::kLanes : remaining > 0 ? int(remaining) : 0;
}

template <class T>
struct MathConstants;

template <>
struct MathConstants<float> {
  static constexpr float kLog2E = 1.44269504f, kLog2ELow = 1.92596303e-8f;
  static constexpr float kLn2High = 0.693145752f, kLn2Low = 1.42860677e-6f;  // high: 15 bits
  static constexpr float kExp2Low = -127.0f, kExp2High = 128.0f;
  // Beyond these exp is exactly 0 or infinity.
  static constexpr float kExpLow = -105.0f, kExpHigh = 89.5f;
  // (2^f - 1) / f on [-1/2, 1/2], interpolated at Chebyshev nodes; 9e-9.
  static constexpr float kExp2[] = {6.931471825e-01f, 2.402265072e-01f, 5.550356954e-02f,
                                    9.618083015e-03f, 1.339086331e-03f, 1.545316336e-04f};
  static constexpr int kLogTerms = 6;
};

template <>
struct MathConstants<double> {
  static constexpr double kLog2E = 1.4426950408889634, kLog2ELow = 2.0355273740931033e-17;
  static constexpr double kLn2High = 0.6931471803691238, kLn2Low = 1.9082149292705877e-10;
  static constexpr double kExp2Low = -1023.0, kExp2High = 1024.0;
  static constexpr double kExpLow = -747.0, kExpHigh = 711.0;
  // Taylor: ln(2)^k / k!; 4e-18.
  static constexpr double kExp2[] = {
      6.93147180559945286e-01, 2.40226506959100694e-01, 5.55041086648215762e-02,
      9.61812910762847688e-03, 1.33335581464284411e-03, 1.54035303933816061e-04,
      1.52527338040598377e-05, 1.32154867901443053e-06, 1.01780860092396960e-07,
      7.05491162080112088e-09, 4.44553827187081007e-10, 2.56784359934881958e-11,
      1.36914888539041241e-12};
  static constexpr int kLogTerms = 12;
};

// 2^f - 1 for |f| <= 1/2, of small relative error.
template <class V>
TESSERA_INLINE V exp2_minus_1_reduced(V f) {
  using C = MathConstants<typename V::Scalar>;
  constexpr int kTerms = sizeof(C::kExp2) / sizeof(C::kExp2[0]);
  V p(C::kExp2[kTerms - 1]);
#pragma GCC unroll 16
  for (int k = kTerms - 2; k >= 0; --k) p = fma(p, f, V(C::kExp2[k]));
  return p * f;
}

template <class V>
TESSERA_INLINE V clamp_exponent(V x) {
  using C = MathConstants<typename V::Scalar>;
  return min(V(C::kExp2High), max(V(C::kExp2Low), x));  // NaN passes
}

// x = n + f for 2^x = 2^n 2^f, with integral n and |f| <= 1/2.
template <class V>
TESSERA_INLINE V split_exponent(V x, V& n) {
#ifdef __AVX512F__
  return split_nearest(x, n);
#else
  x = clamp_exponent(x);
  n = round(x);
  return x - n;
#endif
}

// 2^x; 0 for -infinity. Without AVX-512 0 instead of subnormal results, and infinity from 2^127.5
// (f64: 2^1023.5) on: there the exponent n is -127 or 128 (-1023 or 1024), of which normal_power
// makes 0 and infinity, and every other n gives a normal 2^n, so that one step is exact.
template <class T>
TESSERA_INLINE Vec<T> exp2(Vec<T> x) {
  Vec<T> n;
  const Vec<T> f = split_exponent(x, n);
  const Vec<T> y = exp2_minus_1_reduced(f) + Vec<T>(T(1));
#ifdef __AVX512F__
  return scale_by_power(y, n);
#else
  return y * normal_power(n);
#endif
}

// x / ln(2) = n + f with integral n and |f| <= 1/2 (a little more by rounding), without
// cancellation: fma leaves x log2(e) - n exact but for one rounding of a small number.
template <class T>
TESSERA_INLINE Vec<T> reduce_exponent(Vec<T> x, Vec<T>& n) {
  using C = MathConstants<T>;
  x = min(Vec<T>(C::kExpHigh), max(Vec<T>(C::kExpLow), x));  // NaN passes
  n = round(x * Vec<T>(C::kLog2E));
  return fma(x, Vec<T>(C::kLog2ELow), fma(x, Vec<T>(C::kLog2E), -n));
}

template <class T>
TESSERA_INLINE Vec<T> exp(Vec<T> x) {
  Vec<T> n;
  const Vec<T> f = reduce_exponent(x, n);
  return scale_by_power(exp2_minus_1_reduced(f) + Vec<T>(T(1)), n);
}

// Natural logarithm of normal x > 0; -infinity for 0, NaN for x < 0.
template <class T>
TESSERA_INLINE Vec<T> log(Vec<T> x) {
  using C = MathConstants<T>;
  Vec<T> e;
  const Vec<T> m = split_power(x, e), one(T(1));
  // ln(m) = 2 atanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...), |s| <= 0.2
  const Vec<T> s = (m - one) / (m + one), s2 = s * s;
  Vec<T> p(T(1) / T(2 * C::kLogTerms - 1));
#pragma GCC unroll 16
  for (int k = C::kLogTerms - 2; k >= 1; --k) p = fma(p, s2, Vec<T>(T(1) / T(2 * k + 1)));
  const Vec<T> twice = s + s;
  const Vec<T> y =
      fma(e, Vec<T>(C::kLn2High), fma(e, Vec<T>(C::kLn2Low), fma(twice * s2, p, twice)));
  const Vec<T> zero = Vec<T>::zero(), infinity{T(__builtin_inf())};
  const Vec<T> positive = select(less(x, infinity), y, x);
  const Vec<T> other = select(less(x, zero), Vec<T>{T(__builtin_nan(""))}, x - infinity);
  return select(less(zero, x), positive, other);
}

template <class T>
TESSERA_INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> one(T(1));
  return one / (one + exp(-x));
}

// E / (E + 2) with E = exp(2x) - 1, which keeps small x exact to the last digits.
template <class T>
TESSERA_INLINE Vec<T> tanh(Vec<T> x) {
  const Vec<T> limit(T(20)), one(T(1));  // tanh(20) = 1 - 8e-18
  const Vec<T> twice = min(limit, max(-limit, x)) * Vec<T>(T(2));
  Vec<T> n;
  const Vec<T> f = reduce_exponent(twice, n);
  const Vec<T> power = scale_by_power(one, n);
  const Vec<T> e = fma(power, exp2_minus_1_reduced(f), power - one);
  return e / (e + Vec<T>(T(2)));
}

}  // namespace
}  // namespace tessera
