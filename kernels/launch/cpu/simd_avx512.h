// Vec for AVX-512 (F, BW, DQ, VL). Included by simd.h only.
#pragma once

namespace tessera {
namespace {

// The n first of up to 32 lanes, n >= 0.
TESSERA_INLINE uint32_t first_bits(int n) {
  return _bzhi_u32(~0u, uint32_t(n));
}

template <>
struct Mask<float> {
  __mmask16 bits;
};
template <>
struct Mask<double> {
  __mmask8 bits;
};

// Rounds to nearest even; NaN stays NaN.
TESSERA_INLINE __m256i to_bf16_bits(__m512 x) {
#ifdef __AVX512BF16__
  return (__m256i)_mm512_cvtneps_pbh(x);
#else
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
#endif
}
TESSERA_INLINE __m512 from_bf16_bits(__m256i x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

template <>
struct Vec<float> {
  static constexpr int kLanes = 16;
  using Scalar = float;
  __m512 raw;

  Vec() = default;
  TESSERA_INLINE Vec(__m512 r) : raw(r) {}
  TESSERA_INLINE explicit Vec(float x) : raw(_mm512_set1_ps(x)) {}
  TESSERA_INLINE static Vec zero() { return _mm512_setzero_ps(); }

  TESSERA_INLINE static Vec load(const float* p) { return _mm512_loadu_ps(p); }
  TESSERA_INLINE static Vec load(const bf16* p) {
    return from_bf16_bits(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TESSERA_INLINE static Vec load(const f16* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TESSERA_INLINE static Vec load_first(const float* p, int n) {
    return _mm512_maskz_loadu_ps(first_bits(n), p);
  }
  TESSERA_INLINE static Vec load_first(const bf16* p, int n) {
    return from_bf16_bits(_mm256_maskz_loadu_epi16(first_bits(n), p));
  }
  TESSERA_INLINE static Vec load_first(const f16* p, int n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_bits(n), p));
  }

  TESSERA_INLINE void store(float* p) const { _mm512_storeu_ps(p, raw); }
  TESSERA_INLINE void store(bf16* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), to_bf16_bits(raw));
  }
  TESSERA_INLINE void store(f16* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  TESSERA_INLINE void store_first(float* p, int n) const {
    _mm512_mask_storeu_ps(p, first_bits(n), raw);
  }
  TESSERA_INLINE void store_first(bf16* p, int n) const {
    _mm256_mask_storeu_epi16(p, first_bits(n), to_bf16_bits(raw));
  }
  TESSERA_INLINE void store_first(f16* p, int n) const {
    _mm256_mask_storeu_epi16(p, first_bits(n),
                             _mm512_cvtps_ph(raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
};

template <>
struct Vec<double> {
  static constexpr int kLanes = 8;
  using Scalar = double;
  __m512d raw;

  Vec() = default;
  TESSERA_INLINE Vec(__m512d r) : raw(r) {}
  TESSERA_INLINE explicit Vec(double x) : raw(_mm512_set1_pd(x)) {}
  TESSERA_INLINE static Vec zero() { return _mm512_setzero_pd(); }

  TESSERA_INLINE static Vec load(const double* p) { return _mm512_loadu_pd(p); }
  TESSERA_INLINE static Vec load_first(const double* p, int n) {
    return _mm512_maskz_loadu_pd(first_bits(n), p);
  }
  TESSERA_INLINE void store(double* p) const { _mm512_storeu_pd(p, raw); }
  TESSERA_INLINE void store_first(double* p, int n) const {
    _mm512_mask_storeu_pd(p, first_bits(n), raw);
  }
};

using VecF = Vec<float>;
using VecD = Vec<double>;

TESSERA_INLINE VecF operator+(VecF a, VecF b) {
  return _mm512_add_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF operator-(VecF a, VecF b) {
  return _mm512_sub_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF operator*(VecF a, VecF b) {
  return _mm512_mul_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF operator/(VecF a, VecF b) {
  return _mm512_div_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF fma(VecF a, VecF b, VecF c) {
  return _mm512_fmadd_ps(a.raw, b.raw, c.raw);
}
TESSERA_INLINE VecF min(VecF a, VecF b) {
  return _mm512_min_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF max(VecF a, VecF b) {
  return _mm512_max_ps(a.raw, b.raw);
}
TESSERA_INLINE VecF sqrt(VecF a) {
  return _mm512_sqrt_ps(a.raw);
}
TESSERA_INLINE VecF abs(VecF a) {
  return _mm512_abs_ps(a.raw);
}
TESSERA_INLINE VecF round(VecF a) {
  return _mm512_roundscale_ps(a.raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
TESSERA_INLINE float reduce_add(VecF a) {
  return _mm512_reduce_add_ps(a.raw);
}
TESSERA_INLINE float reduce_max(VecF a) {
  return _mm512_reduce_max_ps(a.raw);
}
TESSERA_INLINE Mask<float> less(VecF a, VecF b) {
  return {_mm512_cmp_ps_mask(a.raw, b.raw, _CMP_LT_OQ)};
}
TESSERA_INLINE VecF select(Mask<float> m, VecF a, VecF b) {
  return _mm512_mask_mov_ps(b.raw, m.bits, a.raw);
}

TESSERA_INLINE VecD operator+(VecD a, VecD b) {
  return _mm512_add_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD operator-(VecD a, VecD b) {
  return _mm512_sub_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD operator*(VecD a, VecD b) {
  return _mm512_mul_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD operator/(VecD a, VecD b) {
  return _mm512_div_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD fma(VecD a, VecD b, VecD c) {
  return _mm512_fmadd_pd(a.raw, b.raw, c.raw);
}
TESSERA_INLINE VecD min(VecD a, VecD b) {
  return _mm512_min_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD max(VecD a, VecD b) {
  return _mm512_max_pd(a.raw, b.raw);
}
TESSERA_INLINE VecD sqrt(VecD a) {
  return _mm512_sqrt_pd(a.raw);
}
TESSERA_INLINE VecD abs(VecD a) {
  return _mm512_abs_pd(a.raw);
}
TESSERA_INLINE VecD round(VecD a) {
  return _mm512_roundscale_pd(a.raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
TESSERA_INLINE double reduce_add(VecD a) {
  return _mm512_reduce_add_pd(a.raw);
}
TESSERA_INLINE double reduce_max(VecD a) {
  return _mm512_reduce_max_pd(a.raw);
}
TESSERA_INLINE Mask<double> less(VecD a, VecD b) {
  return {_mm512_cmp_pd_mask(a.raw, b.raw, _CMP_LT_OQ)};
}
TESSERA_INLINE VecD select(Mask<double> m, VecD a, VecD b) {
  return _mm512_mask_mov_pd(b.raw, m.bits, a.raw);
}

template <class V>
TESSERA_INLINE Mask<typename V::Scalar> first_lanes(int n) {
  return {decltype(Mask<typename V::Scalar>::bits)(first_bits(n))};
}

// Lanes begin .. end - 1; none for end <= begin.
template <class V>
TESSERA_INLINE Mask<typename V::Scalar> lanes_between(int begin, int end) {
  return {decltype(Mask<typename V::Scalar>::bits)(first_bits(end) & ~first_bits(begin))};
}

// x * 2^n for integral n, as ldexp.
TESSERA_INLINE VecF scale_by_power(VecF x, VecF n) {
  return _mm512_scalef_ps(x.raw, n.raw);
}
TESSERA_INLINE VecD scale_by_power(VecD x, VecD n) {
  return _mm512_scalef_pd(x.raw, n.raw);
}

// x = n + f with integral n and |f| <= 1/2; infinities give n = x, f = 0.
TESSERA_INLINE VecF split_nearest(VecF x, VecF& n) {
  n = round(x);
  return _mm512_reduce_ps(x.raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
TESSERA_INLINE VecD split_nearest(VecD x, VecD& n) {
  n = round(x);
  return _mm512_reduce_pd(x.raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// Positive x = mantissa * 2^exponent with mantissa in [0.75, 1.5).
TESSERA_INLINE VecF split_power(VecF x, VecF& exponent) {
  const __m512 m = _mm512_getmant_ps(x.raw, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_src);
  exponent = _mm512_getexp_ps(_mm512_div_ps(x.raw, m));
  return m;
}
TESSERA_INLINE VecD split_power(VecD x, VecD& exponent) {
  const __m512d m = _mm512_getmant_pd(x.raw, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_src);
  exponent = _mm512_getexp_pd(_mm512_div_pd(x.raw, m));
  return m;
}

}  // namespace
}  // namespace tessera
