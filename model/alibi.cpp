#include "model/alibi.h"

#include <bit>
#include <cmath>

namespace tessera {

std::vector<float> alibi_slopes(int64_t heads) {
  const auto m = int64_t(std::bit_floor(uint64_t(heads)));
  std::vector<float> slopes;
  for (int64_t h = 0; h < heads; ++h) {
    const double exponent = h < m ? 8.0 * double(h + 1) : 4.0 * double(2 * (h - m) + 1);
    slopes.push_back(float(std::exp2(-exponent / double(m))));
  }
  return slopes;
}

}  // namespace tessera
