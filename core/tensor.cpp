#include "core/tensor.h"

namespace tessera {

bool Tensor::is_contiguous() const {
  int64_t expected = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != expected) return false;
    expected *= shape_[i];
  }
  return true;
}

Tensor Tensor::view(const Shape& shape) const {
  check(is_contiguous(), "view: a tensor of shape {} and strides {} is not contiguous", shape_,
        strides_);
  check(shape.elements() == elements(), "view: shape {} has {} elements, {} has {}", shape_,
        elements(), shape, shape.elements());
  Tensor result = *this;
  result.shape_ = shape;
  result.strides_ = shape.contiguous_strides();
  return result;
}

Tensor Tensor::slice(int dim, int64_t begin, int64_t end) const {
  check(0 <= begin && begin <= end && end <= shape_[dim],
        "slice: [{}, {}) of dimension {} of shape {}", begin, end, dim, shape_);
  Tensor result = *this;
  result.offset_ += begin * strides_[dim];
  result.shape_[dim] = end - begin;
  return result;
}

Tensor Tensor::transpose(int dim0, int dim1) const {
  Tensor result = *this;
  std::swap(result.shape_[dim0], result.shape_[dim1]);
  std::swap(result.strides_[dim0], result.strides_[dim1]);
  return result;
}

Tensor Tensor::unflatten(int dim, int64_t outer, int64_t inner) const {
  const int d = dim < 0 ? dim + rank() : dim;
  check(shape_[d] == outer * inner, "unflatten: dimension {} of shape {} is not {} x {}", dim,
        shape_, outer, inner);
  std::array<int64_t, Shape::kMaxRank + 1> shape{}, strides{};
  size_t n = 0;
  for (int i = 0; i < rank(); ++i) {
    if (i == d) {
      shape[n] = outer;
      strides[n++] = strides_[i] * inner;
      shape[n] = inner;
    } else {
      shape[n] = shape_[i];
    }
    strides[n++] = strides_[i];
  }
  Tensor result = *this;
  result.shape_ = Shape(std::span<const int64_t>(shape.data(), n));
  result.strides_ = Shape(std::span<const int64_t>(strides.data(), n));
  return result;
}

}  // namespace tessera
