#include "kernels/adamw/kernel.h"

#include <algorithm>
#include <cmath>

#include "kernels/adamw/cpu.h"
#include "kernels/adamw/gpu.h"
#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/launch/gpu/dispatch.h"

namespace tessera {
namespace {

constexpr int64_t kBlock = 16384;  // elements; threads share the blocks of all tensors evenly

template <class T>
using Update = void (*)(const AdamWFactors<T>&, const AdamWBlock<T>&);

template <class T>
Update<T> update_of(Isa isa) {
  return dispatch_isa(isa, []<Isa level>() -> Update<T> { return adamw_cpu<level, T>; });
}

void check_like_param(const Tensor& param, std::string_view name, const Tensor& x, DType dtype) {
  check(x.defined() && x.shape() == param.shape() && x.dtype() == dtype && x.is_contiguous(),
        "adamw: {} must be a contiguous {} tensor of the parameter's shape {}, not {} {}", name,
        dtype, param.shape(), x.dtype(), x.shape());
}

void check_tensor(const AdamWTensor& t) {
  const bool rounded = t.param.dtype() == DType::bf16;
  const DType dtype = rounded ? DType::f32 : t.param.dtype();
  check(dtype == DType::f32 || dtype == DType::f64,
        "adamw: a parameter of dtype {}; use f32 or f64, or bf16 for stochastic rounding", dtype);
  check_like_param(t.param, "the parameter", t.param, t.param.dtype());
  check_like_param(t.param, "the gradient", t.grad, dtype);
  check_like_param(t.param, "m", t.m, dtype);
  check_like_param(t.param, "v", t.v, dtype);
  if (!t.low.defined()) return;
  check(t.param.dtype() == DType::f32, "adamw: a working copy beside a parameter of dtype {}",
        t.param.dtype());
  check_like_param(t.param, "the working copy", t.low, DType::bf16);
}

template <class T>
AdamWFactors<T> factors_of(const Context& ctx, const AdamWArgs& a) {
  const double correction1 = 1 - std::pow(a.beta1, double(a.step));
  const double correction2 = 1 - std::pow(a.beta2, double(a.step));
  return {.grad_scale = T(a.grad_scale),
          .beta1 = T(a.beta1),
          .one_minus_beta1 = T(1 - a.beta1),
          .beta2 = T(a.beta2),
          .one_minus_beta2 = T(1 - a.beta2),
          .rate = T(a.lr / correction1),
          .root_scale = T(1 / std::sqrt(correction2)),
          .eps = T(a.eps),
          .seed = ctx.seed(),
          .step = uint32_t(a.step)};
}

template <class S>
S* at(const Tensor& x, int64_t i) {
  return x.defined() ? x.data<S>() + i : nullptr;
}

// Blocks of up to `size` elements, a multiple of 4, of all tensors whose moments are T.
template <class T>
std::vector<AdamWBlock<T>> blocks_of(const AdamWArgs& args, int64_t size) {
  std::vector<AdamWBlock<T>> blocks;
  for (const AdamWTensor& t : args.tensors) {
    if (t.m.dtype() != dtype_of<T>) continue;
    const bool rounded = t.param.dtype() == DType::bf16;
    const double keep = t.decay ? 1 - args.lr * args.weight_decay : 1;
    for (int64_t i = 0; i < t.param.elements(); i += size) {
      blocks.push_back({.param = rounded ? nullptr : at<T>(t.param, i),
                        .low = at<bf16>(rounded ? t.param : t.low, i),
                        .grad = t.grad.data<T>() + i,
                        .m = t.m.data<T>() + i,
                        .v = t.v.data<T>() + i,
                        .count = std::min(size, t.param.elements() - i),
                        .keep = T(keep),
                        .purpose = t.purpose,
                        .first = i});
    }
  }
  return blocks;
}

template <class T>
void step_typed(Context& ctx, const AdamWArgs& args) {
  const AdamWFactors<T> factors = factors_of<T>(ctx, args);
  if (is_gpu(ctx.device())) {
    const auto tensors = blocks_of<T>(args, int64_t{1} << 62);
    return dispatch_gpu(ctx.device(),
                        [&]<Device device>() { adamw_gpu<device, T>(ctx, factors, tensors); });
  }
  const std::vector<AdamWBlock<T>> blocks = blocks_of<T>(args, kBlock);
  const Update<T> update = update_of<T>(ctx.isa());
  parallel_for(ctx.threads(), int64_t(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) update(factors, blocks[size_t(b)]);
  });
}

}  // namespace

// Per element: 6 multiplications, 4 additions, a division and a square root; reads param, grad, m
// and v, writes param, m, v and the working copy.
KernelCost cost(const AdamWArgs& args) {
  KernelCost total;
  for (const AdamWTensor& t : args.tensors) {
    total.flops += 12.0 * double(t.param.elements());
    total.bytes += 2.0 * double(t.param.bytes()) + 5.0 * double(t.m.bytes());
    if (t.low.defined()) total.bytes += double(t.low.bytes());
  }
  return total;
}

void adamw_step(Context& ctx, const AdamWArgs& args) {
  check(args.step >= 1, "adamw: step {} is below 1, from which steps count", args.step);
  for (const AdamWTensor& t : args.tensors) {
    check_tensor(t);
    t.param.storage()->bump_version();
    if (t.low.defined()) t.low.storage()->bump_version();
  }
  const KernelScope scope(ctx, "adamw", cost(args));
  if (ctx.is_meta()) return;
  step_typed<float>(ctx, args);
  step_typed<double>(ctx, args);
}

}  // namespace tessera
