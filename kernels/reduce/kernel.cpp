#include "kernels/reduce/kernel.h"

#include <algorithm>

#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

constexpr int64_t kBlock = 32768;  // elements that one partial sum covers
constexpr int64_t kLanes = 16;     // running sums in a block: enough to hide the latency of adds

struct Block {
  double (*sum)(const std::byte* data, int64_t count);
  const std::byte* data;
  int64_t count;
};

double widened(double x) {
  return x;
}
double widened(float x) {
  return x;
}
double widened(bf16 x) {
  return to_float(x);
}

// Plain code on purpose: even at two doubles a vector it runs at the speed of memory.
template <class S>
double block_sum(const std::byte* data, int64_t count) {
  const S* x = reinterpret_cast<const S*>(data);
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = widened(x[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (; i < count; ++i) lanes[i % kLanes] += widened(x[i]) * widened(x[i]);
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

std::vector<Block> blocks_of(std::span<const Tensor> tensors) {
  std::vector<Block> blocks;
  for (const Tensor& x : tensors) {
    const auto sum =
        dispatch_compute("sum_of_squares", x.dtype(), []<class S>() { return &block_sum<S>; });
    for (int64_t i = 0; i < x.elements(); i += kBlock) {
      blocks.push_back({.sum = sum,
                        .data = x.raw() + size_t(i) * size_of(x.dtype()),
                        .count = std::min(kBlock, x.elements() - i)});
    }
  }
  return blocks;
}

}  // namespace

KernelCost sum_of_squares_cost(std::span<const Tensor> tensors) {
  KernelCost total;
  for (const Tensor& x : tensors) {
    total.flops += 2.0 * double(x.elements());
    total.bytes += double(x.bytes());
  }
  return total;
}

double sum_of_squares(Context& ctx, std::span<const Tensor> tensors) {
  for (const Tensor& x : tensors) {
    check(x.is_contiguous(),
          "sum_of_squares: a tensor of shape {} and strides {} is not contiguous", x.shape(),
          x.strides());
  }
  const KernelScope scope(ctx, "sum_of_squares", sum_of_squares_cost(tensors));
  const std::vector<Block> blocks = blocks_of(tensors);
  const Tensor partials = ctx.empty({int64_t(blocks.size())}, DType::f64, MemoryTag::workspace);
  if (ctx.is_meta()) return 0;
  double* const partial = partials.data<double>();
  parallel_for(ctx.threads(), int64_t(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      partial[b] = blocks[size_t(b)].sum(blocks[size_t(b)].data, blocks[size_t(b)].count);
  });
  double sum = 0;
  for (size_t b = 0; b < blocks.size(); ++b) sum += partial[b];
  return sum;
}

}  // namespace tessera
