#include "kernels/reduce/kernel.h"

#include <algorithm>

#include "core/transfer.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/launch/gpu/dispatch.h"
#include "kernels/reduce/cpu.h"
#include "kernels/reduce/gpu.h"

namespace tessera {
namespace {

struct Block {
  double (*sum)(const std::byte* data, int64_t count);
  const std::byte* data;
  int64_t count;
};

template <Isa isa, class S>
double block_sum(const std::byte* data, int64_t count) {
  return squares_cpu<isa, S>(reinterpret_cast<const S*>(data), count);
}

template <class S>
decltype(Block::sum) block_sum_of(Isa isa) {
  return isa == Isa::avx2 ? &block_sum<Isa::avx2, S> : &block_sum<Isa::avx512, S>;
}

std::vector<Block> blocks_of(std::span<const Tensor> tensors, Isa isa) {
  std::vector<Block> blocks;
  for (const Tensor& x : tensors) {
    const auto sum = dispatch_compute("sum_of_squares", x.dtype(),
                                      [&]<class S>() { return block_sum_of<S>(isa); });
    for (int64_t i = 0; i < x.elements(); i += kReduceBlock) {
      blocks.push_back({.sum = sum,
                        .data = x.raw() + size_t(i) * size_of(x.dtype()),
                        .count = std::min(kReduceBlock, x.elements() - i)});
    }
  }
  return blocks;
}

// partials: one for each block, then room for their sum.
double sum_on_cpu(Context& ctx, std::span<const Tensor> tensors, double* partials) {
  const std::vector<Block> blocks = blocks_of(tensors, ctx.isa());
  parallel_for(ctx.threads(), int64_t(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      partials[b] = blocks[size_t(b)].sum(blocks[size_t(b)].data, blocks[size_t(b)].count);
  });
  double sum = 0;
  for (size_t b = 0; b < blocks.size(); ++b) sum += partials[b];
  return sum;
}

int64_t block_count(const Tensor& x) {
  return (x.elements() + kReduceBlock - 1) / kReduceBlock;
}

// The tensors of storage type S, with their places among the partial sums of all.
template <class S>
std::vector<SquaresOf<S>> squares_of(std::span<const Tensor> tensors, double* partials) {
  std::vector<SquaresOf<S>> squares;
  for (const Tensor& x : tensors) {
    if (x.dtype() == dtype_of<S> && x.elements() > 0)
      squares.push_back({.data = x.data<S>(), .elements = x.elements(), .partials = partials});
    partials += block_count(x);
  }
  return squares;
}

template <Device device>
double sum_on_gpu(Context& ctx, std::span<const Tensor> tensors, const Tensor& partials) {
  const int64_t blocks = partials.elements() - 1;
  double* const sums = partials.data<double>();
  partial_squares_gpu<device, float>(ctx, squares_of<float>(tensors, sums));
  partial_squares_gpu<device, bf16>(ctx, squares_of<bf16>(tensors, sums));
  partial_squares_gpu<device, double>(ctx, squares_of<double>(tensors, sums));
  sum_gpu<device>(ctx, sums, blocks, sums + blocks);
  return to_vector<double>(partials.slice(0, blocks, blocks + 1))[0];
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
  int64_t blocks = 0;
  for (const Tensor& x : tensors) {
    check(x.is_contiguous(),
          "sum_of_squares: a tensor of shape {} and strides {} is not contiguous", x.shape(),
          x.strides());
    dispatch_compute("sum_of_squares", x.dtype(), []<class S>() {});  // refuses other dtypes
    blocks += block_count(x);
  }
  const KernelScope scope(ctx, "sum_of_squares", sum_of_squares_cost(tensors));
  const Tensor partials = ctx.empty({blocks + 1}, DType::f64, MemoryTag::workspace);
  if (ctx.is_meta()) return 0;
  if (!is_gpu(ctx.device())) return sum_on_cpu(ctx, tensors, partials.data<double>());
  double sum = 0;
  dispatch_gpu(ctx.device(),
               [&]<Device device>() { sum = sum_on_gpu<device>(ctx, tensors, partials); });
  return sum;
}

}  // namespace tessera
