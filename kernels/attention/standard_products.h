// The matrix products of standard attention on a GPU: matrices inside tensors of heads, and their
// product by what multiplies on the device.
#pragma once

#include "kernels/attention/problem.h"
#include "kernels/linear/kernel.h"

namespace tessera {

// [rows, columns], rows `stride` elements apart, from element `first` of x on.
Tensor matrix_of(const Tensor& x, int64_t first, int64_t rows, int64_t columns, int64_t stride);

// Takes its workspace when it is made: the number and the sizes of the products depend on the
// offsets of the segments, which a plan on `meta` does not know.
class StandardProducts {
 public:
  StandardProducts(Context& ctx, const AttentionProblem& p);
  void operator()(const MatmulArgs& args) const;

 private:
  void multiply_bf16_on_host(const MatmulArgs& args) const;

  Context& ctx_;
  Tensor workspace_;  // cuda
  Tensor a_, b_, c_;  // bf16 on simt: in f32
};

}  // namespace tessera
