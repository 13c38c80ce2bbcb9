#include "tests/support/values.h"

#include "core/check.h"
#include "core/random.h"

namespace tessera::reference {

Vec random_values(std::string_view name, int64_t count, double stddev) {
  const Philox philox(/*seed=*/1234, purpose_id(name), /*step=*/0);
  Vec x(count);
  for (int64_t i = 0; i < count; ++i) x[i] = stddev * philox.normal(i);
  return x;
}

Vec add(const Vec& a, const Vec& b) {
  check(a.size() == b.size(), "add: {} and {} elements", a.size(), b.size());
  Vec sum(a);
  for (size_t i = 0; i < b.size(); ++i) sum[i] += b[i];
  return sum;
}

double dot(const Vec& a, const Vec& b) {
  check(a.size() == b.size(), "dot: {} and {} elements", a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

Vec take_columns(const Vec& x, int64_t width, int64_t begin, int64_t end) {
  Vec part;
  for (int64_t row = 0; row < int64_t(x.size()) / width; ++row) {
    const auto start = x.begin() + row * width;
    part.insert(part.end(), start + begin, start + end);
  }
  return part;
}

void put_columns(Vec& x, int64_t width, int64_t begin, int64_t end, const Vec& part) {
  const int64_t count = end - begin;
  for (int64_t row = 0; row < int64_t(x.size()) / width; ++row)
    for (int64_t c = 0; c < count; ++c) x[row * width + begin + c] = part[row * count + c];
}

}  // namespace tessera::reference
