// Rounding of a double to the values of a smaller floating-point format, by arithmetic instead of
// bit patterns, so that it can judge the conversions in core/dtype.h.
#pragma once

namespace tessera::reference {

struct NumberFormat {
  int significand_bits;  // with the implicit leading one
  int min_exponent;      // of the smallest normal number
  double max_finite;
  bool has_infinity;  // without it, values too large become NaN
};

inline constexpr NumberFormat kF32{24, -126, 0x1.fffffep127, true};
inline constexpr NumberFormat kF16{11, -14, 65504, true};
inline constexpr NumberFormat kBF16{8, -126, 0x1.fep127, true};
inline constexpr NumberFormat kE5M2{3, -14, 57344, true};
inline constexpr NumberFormat kE4M3{4, -6, 448, false};

// Nearest value of the format, ties to even; subnormals kept; NaN stays NaN.
double round_to(const NumberFormat& format, double x);

// One unit in the last place of x in the format: the distance to its neighbour away from zero.
double unit_in_last_place(const NumberFormat& format, double x);

// What the f32 arithmetic of a kernel stores: rounded to f32 first, then to the format.
double round_through_f32(const NumberFormat& format, double x);

inline double round_f32(double x) {
  return double(float(x));
}
inline double round_bf16(double x) {
  return round_through_f32(kBF16, x);
}
inline double round_f16(double x) {
  return round_through_f32(kF16, x);
}

}  // namespace tessera::reference
