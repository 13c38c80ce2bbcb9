// Shapes and strides: up to six 64-bit extents, in elements, outermost first.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "core/check.h"

namespace tessera {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) : rank_(int(dims.size())) {
    check(dims.size() <= kMaxRank, "shape: rank {} is above the limit of {}", dims.size(),
          kMaxRank);
    std::copy(dims.begin(), dims.end(), dims_.begin());
  }

  int rank() const { return rank_; }
  // Negative indices count from the end.
  int64_t operator[](int i) const { return dims_[index(i)]; }
  int64_t& operator[](int i) { return dims_[index(i)]; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }

  // Throws Error where there are more than an int64_t counts.
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : *this) {
      int64_t product = 0;
      check(!__builtin_mul_overflow(n, d, &product),
            "shape: {} times {} elements are more than 63 bits count", n, d);
      n = product;
    }
    return n;
  }
  // Row-major strides of this shape.
  Shape contiguous_strides() const {
    Shape strides = *this;
    int64_t stride = 1;
    for (int i = rank_ - 1; i >= 0; --i) {
      strides.dims_[size_t(i)] = stride;
      stride *= dims_[size_t(i)];
    }
    return strides;
  }
  bool operator==(const Shape& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
  }

 private:
  size_t index(int i) const {
    const int k = i < 0 ? i + rank_ : i;
    check(k >= 0 && k < rank_, "shape: dimension {} of a shape of rank {}", i, rank_);
    return size_t(k);
  }

  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace tessera

template <>
struct fmt::formatter<tessera::Shape> {
  constexpr auto parse(format_parse_context& ctx) { return ctx.begin(); }
  auto format(const tessera::Shape& shape, format_context& ctx) const {
    auto out = fmt::format_to(ctx.out(), "[");
    for (int i = 0; i < shape.rank(); ++i)
      out = fmt::format_to(out, "{}{}", i ? ", " : "", shape[i]);
    return fmt::format_to(out, "]");
  }
};
