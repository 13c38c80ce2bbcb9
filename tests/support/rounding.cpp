#include "tests/support/rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera::reference {

double unit_in_last_place(const NumberFormat& format, double x) {
  const int exponent = x == 0 ? format.min_exponent : std::max(std::ilogb(x), format.min_exponent);
  return std::ldexp(1.0, exponent - (format.significand_bits - 1));
}

double round_to(const NumberFormat& format, double x) {
  if (std::isnan(x)) return x;
  const double infinity = std::numeric_limits<double>::infinity();
  const double overflow =
      std::copysign(format.has_infinity ? infinity : std::numeric_limits<double>::quiet_NaN(), x);
  if (std::isinf(x)) return overflow;
  const double ulp = unit_in_last_place(format, x);
  const double rounded = std::nearbyint(x / ulp) * ulp;  // exact: ulp is a power of two
  return std::abs(rounded) > format.max_finite ? overflow : rounded;
}

double round_through_f32(const NumberFormat& format, double x) {
  return round_to(format, round_f32(x));
}

}  // namespace tessera::reference
