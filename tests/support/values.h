// What every reference stands on: row-major arrays of doubles in a std::vector.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace tessera::reference {

using Vec = std::vector<double>;

// Normal numbers times `stddev`, a function of (name, element) alone.
Vec random_values(std::string_view name, int64_t count, double stddev = 1.0);

Vec add(const Vec& a, const Vec& b);
double dot(const Vec& a, const Vec& b);

// Columns [begin, end) of x [rows, width].
Vec take_columns(const Vec& x, int64_t width, int64_t begin, int64_t end);

// The reverse: writes part [rows, end - begin] into columns [begin, end) of x [rows, width].
void put_columns(Vec& x, int64_t width, int64_t begin, int64_t end, const Vec& part);

}  // namespace tessera::reference
