// Vec for AVX2, FMA and F16C. Included by simd.h only.
#pragma once

namespace tessera {
namespace {

template <>
struct Mask<float> {
  __m256 bits;
};
template <>
struct Mask<double> {
  __m256d bits;
};

TESSERA_INLINE __m256i first_mask32(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
TESSERA_INLINE __m256i first_mask64(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

// The n first 16-bit values at p, 0 beyond. AVX2 has no masks for them, and its masked stores are
// slow: a whole vector, the usual case of load_first and store_first, takes a plain access.
TESSERA_INLINE __m128i load_first16(const void* p, int n) {
  alignas(16) uint16_t buffer[8] = {};
  for (int i = 0; i < n; ++i) {
    std::memcpy(&buffer[i], static_cast<const char*>(p) + 2 * i, 2);
  }
  return _mm_load_si128(reinterpret_cast<const __m128i*>(buffer));
}
TESSERA_INLINE void store_first16(void* p, __m128i x, int n) {
  alignas(16) uint16_t buffer[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(buffer), x);
  for (int i = 0; i < n; ++i) std::memcpy(static_cast<char*>(p) + 2 * i, &buffer[i], 2);
}

// Rounds to nearest even; NaN stays NaN.
TESSERA_INLINE __m128i to_bf16_bits(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}
TESSERA_INLINE __m256 from_bf16_bits(__m128i x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}

template <>
struct Vec<float> {
  static constexpr int kLanes = 8;
  using Scalar = float;
  __m256 raw;

  Vec() = default;
  TESSERA_INLINE Vec(__m256 r) : raw(r) {}
  TESSERA_INLINE explicit Vec(float x) : raw(_mm256_set1_ps(x)) {}
  TESSERA_INLINE static Vec zero() { return _mm256_setzero_ps(); }

  TESSERA_INLINE static Vec load(const float* p) { return _mm256_loadu_ps(p); }
  TESSERA_INLINE static Vec load(const bf16* p) {
    return from_bf16_bits(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  TESSERA_INLINE static Vec load(const f16* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  TESSERA_INLINE static Vec load_first(const float* p, int n) {
    return _mm256_maskload_ps(p, first_mask32(n));
  }
  TESSERA_INLINE static Vec load_first(const bf16* p, int n) {
    return n == kLanes ? load(p) : from_bf16_bits(load_first16(p, n));
  }
  TESSERA_INLINE static Vec load_first(const f16* p, int n) {
    return n == kLanes ? load(p) : _mm256_cvtph_ps(load_first16(p, n));
  }

  TESSERA_INLINE void store(float* p) const { _mm256_storeu_ps(p, raw); }
  TESSERA_INLINE void store(bf16* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_bf16_bits(raw));
  }
  TESSERA_INLINE void store(f16* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  TESSERA_INLINE void store_first(float* p, int n) const {
    if (n == kLanes) return store(p);
    _mm256_maskstore_ps(p, first_mask32(n), raw);
  }
  TESSERA_INLINE void store_first(bf16* p, int n) const {
    if (n == kLanes) return store(p);
    store_first16(p, to_bf16_bits(raw), n);
  }
  TESSERA_INLINE void store_first(f16* p, int n) const {
    if (n == kLanes) return store(p);
    store_first16(p, _mm256_cvtps_ph(raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), n);
  }
};

template <>
struct Vec<double> {
  static constexpr int kLanes = 4;
  using Scalar = double;
  __m256d raw;

  Vec() = default;
  TESSERA_INLINE Vec(__m256d r) : raw(r) {}
  TESSERA_INLINE explicit Vec(double x) : raw(_mm256_set1_pd(x)) {}
  TESSERA_INLINE static Vec zero() { return _mm256_setzero_pd(); }

  TESSERA_INLINE static Vec load(const double* p) { return _mm256_loadu_pd(p); }
  TESSERA_INLINE static Vec load_first(const double* p, int n) {
    return _mm256_maskload_pd(p, first_mask64(n));
  }
  TESSERA_INLINE void store(double* p) const { _mm256_storeu_pd(p, raw); }
  TESSERA_INLINE void store_first(double* p, int n) const {
    if (n == kLanes) return store(p);
    _mm256_maskstore_pd(p, first_mask64(n), raw);
  }
};

using VecF = Vec<float>;
using VecD = Vec<double>;

TESSERA_INLINE VecF operator+(VecF a, VecF b) {
  return _mm256_add_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF operator-(VecF a, VecF b) {
  return _mm256_sub_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF operator*(VecF a, VecF b) {
  return _mm256_mul_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF operator/(VecF a, VecF b) {
  return _mm256_div_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF fma(VecF a, VecF b, VecF c) {
  return _mm256_fmadd_ps(a.raw, b.raw, c.raw);
}
TESSERA_INLINE VecF min(VecF a, VecF b) {
  return _mm256_min_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF max(VecF a, VecF b) {
  return _mm256_max_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF sqrt(VecF a) {
  return _mm256_sqrt_ps(a.raw);
}
TESSERA_INLINE VecF abs(VecF a) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.raw);
}
TESSERA_INLINE VecF round(VecF a) {
  return _mm256_round_ps(a.raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
TESSERA_INLINE float reduce_add(VecF a) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(a.raw), _mm256_extractf128_ps(a.raw, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
TESSERA_INLINE float reduce_max(VecF a) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(a.raw), _mm256_extractf128_ps(a.raw, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
TESSERA_INLINE Mask<float> less(VecF a, VecF b) {
  return {_mm256_cmp_ps(a.raw, b.raw, _CMP_LT_OQ)};
}
TESSERA_INLINE VecF select(Mask<float> m, VecF a, VecF b) {
  return _mm256_blendv_ps(b.raw, a.raw, m.bits);
}

TESSERA_INLINE VecD operator+(VecD a, VecD b) {
  return _mm256_add_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD operator-(VecD a, VecD b) {
  return _mm256_sub_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD operator*(VecD a, VecD b) {
  return _mm256_mul_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD operator/(VecD a, VecD b) {
  return _mm256_div_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD fma(VecD a, VecD b, VecD c) {
  return _mm256_fmadd_pd(a.raw, b.raw, c.raw);
}
TESSERA_INLINE VecD min(VecD a, VecD b) {
  return _mm256_min_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD max(VecD a, VecD b) {
  return _mm256_max_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD sqrt(VecD a) {
  return _mm256_sqrt_pd(a.raw);
}
TESSERA_INLINE VecD abs(VecD a) {
  return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a.raw);
}
TESSERA_INLINE VecD round(VecD a) {
  return _mm256_round_pd(a.raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
TESSERA_INLINE double reduce_add(VecD a) {
  const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(a.raw), _mm256_extractf128_pd(a.raw, 1));
  return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}
TESSERA_INLINE double reduce_max(VecD a) {
  const __m128d x = _mm_max_pd(_mm256_castpd256_pd128(a.raw), _mm256_extractf128_pd(a.raw, 1));
  return _mm_cvtsd_f64(_mm_max_sd(x, _mm_unpackhi_pd(x, x)));
}
TESSERA_INLINE Mask<double> less(VecD a, VecD b) {
  return {_mm256_cmp_pd(a.raw, b.raw, _CMP_LT_OQ)};
}
TESSERA_INLINE VecD select(Mask<double> m, VecD a, VecD b) {
  return _mm256_blendv_pd(b.raw, a.raw, m.bits);
}

template <class V>
TESSERA_INLINE Mask<typename V::Scalar> first_lanes(int n) {
  if constexpr (sizeof(typename V::Scalar) == 4) {
    return {_mm256_castsi256_ps(first_mask32(n))};
  } else {
    return {_mm256_castsi256_pd(first_mask64(n))};
  }
}

// Lanes begin .. end - 1; none for end <= begin.
template <class V>
TESSERA_INLINE Mask<typename V::Scalar> lanes_between(int begin, int end) {
  if constexpr (sizeof(typename V::Scalar) == 4) {
    return {_mm256_castsi256_ps(_mm256_andnot_si256(first_mask32(begin), first_mask32(end)))};
  } else {
    return {_mm256_castsi256_pd(_mm256_andnot_si256(first_mask64(begin), first_mask64(end)))};
  }
}

// 2^n for integral n in the range of normal numbers; 0 and infinity for the next n beyond.
TESSERA_INLINE VecF normal_power(VecF n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.raw), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
TESSERA_INLINE VecD normal_power(VecD n) {
  // The low bits of 1.5 * 2^52 + x are the integer x.
  const __m256d shifted = _mm256_add_pd(n.raw, _mm256_set1_pd(0x1.8p52 + 1023));
  return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(shifted), 52));
}

// x * 2^n for integral n, as ldexp, |n| at most twice the exponent range: two steps, since 2^n may
// overflow on its own.
template <class V>
TESSERA_INLINE V scale_by_power(V x, V n) {
  const V half = round(n * V(typename V::Scalar(0.5)));
  return x * normal_power(half) * normal_power(n - half);
}

// Positive normal x = mantissa * 2^exponent with mantissa in [0.75, 1.5).
TESSERA_INLINE VecF split_power(VecF x, VecF& exponent) {
  // Subtracting the bits of 0.75 makes the exponent field count from there.
  const __m256i bits = _mm256_castps_si256(x.raw);
  const __m256i e = _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(0x3f400000)), 23);
  exponent = _mm256_cvtepi32_ps(e);
  return _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(e, 23)));
}
TESSERA_INLINE VecD split_power(VecD x, VecD& exponent) {
  const __m256i bits = _mm256_castpd_si256(x.raw);
  const __m256i offset = _mm256_set1_epi64x(0x3fe8000000000000 - INT64_MAX - 1);
  const __m256i biased = _mm256_srli_epi64(_mm256_sub_epi64(bits, offset), 52);  // e + 2048
  const __m256d magic = _mm256_set1_pd(0x1p52);
  exponent = _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(biased, _mm256_castpd_si256(magic))),
                           _mm256_set1_pd(0x1p52 + 2048));
  const __m256i e = _mm256_sub_epi64(biased, _mm256_set1_epi64x(2048));
  return _mm256_castsi256_pd(_mm256_sub_epi64(bits, _mm256_slli_epi64(e, 52)));
}

}  // namespace
}  // namespace tessera
