// Ops over f64 tensors, as small as ops get: the autograd tests depend on no kernel.
#pragma once

#include <string>
#include <vector>

#include "core/autograd/engine.h"
#include "core/autograd/op.h"

namespace tessera::toy {

using Names = std::vector<std::string>;

inline Tensor make_tensor(Context& ctx, const std::vector<double>& values) {
  Tensor x = ctx.empty({int64_t(values.size())}, DType::f64);
  std::copy(values.begin(), values.end(), x.data<double>());
  return x;
}

inline std::vector<double> read(const Tensor& x) {
  return {x.data<double>(), x.data<double>() + x.elements()};
}

inline std::vector<double> grad_of(const Var& leaf) {
  return read(leaf_of(leaf).grad());
}

inline void add_into(Context&, const Tensor& into, const Tensor& from) {
  for (int64_t i = 0; i < into.elements(); ++i) into.data<double>()[i] += from.data<double>()[i];
}

// Runs backward from y with a gradient of ones.
inline void backward_ones(Context& ctx, const Var& y) {
  const std::vector<double> ones(size_t(y.value().elements()), 1.0);
  backward(ctx, std::span(&y, 1), {make_tensor(ctx, ones)}, add_into);
}

// y = a * b. Its gradients go into targets, so that they accumulate in place where they can.
struct Multiply {
  static constexpr std::string_view kName = "multiply";

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor y = ctx.empty(in[0].shape(), DType::f64);
    for (int64_t i = 0; i < y.elements(); ++i)
      y.data<double>()[i] = in[0].data<double>()[i] * in[1].data<double>()[i];
    saved.keep({in[0], in[1]});
    return {y};
  }
  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    for (int input = 0; input < 2; ++input) {
      if (!grads.wanted(input)) continue;
      const Tensor& other = saved[size_t(1 - input)];
      const auto [grad, accumulate] = grads.target(ctx, input, other.shape(), DType::f64);
      for (int64_t i = 0; i < grad.elements(); ++i) {
        const double g = grad_out[0].data<double>()[i] * other.data<double>()[i];
        grad.data<double>()[i] = accumulate ? grad.data<double>()[i] + g : g;
      }
    }
  }
};

// y = a + b. Hands the same gradient to both inputs.
struct Add {
  static constexpr std::string_view kName = "add";

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved&) const {
    const Tensor y = ctx.empty(in[0].shape(), DType::f64);
    for (int64_t i = 0; i < y.elements(); ++i)
      y.data<double>()[i] = in[0].data<double>()[i] + in[1].data<double>()[i];
    return {y};
  }
  void backward(Context& ctx, std::vector<Tensor>, std::span<Tensor> grad_out,
                GradSink& grads) const {
    for (int input = 0; input < 2; ++input)
      if (grads.wanted(input)) grads.put(ctx, input, grad_out[0]);
  }
};

// (x, 2 x): two outputs, of which either may stay unused.
struct Fork {
  static constexpr std::string_view kName = "fork";

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved&) const {
    std::vector<Tensor> out{ctx.empty(in[0].shape(), DType::f64),
                            ctx.empty(in[0].shape(), DType::f64)};
    for (int64_t i = 0; i < in[0].elements(); ++i)
      for (int k = 0; k < 2; ++k)
        out[size_t(k)].data<double>()[i] = (k + 1) * in[0].data<double>()[i];
    return out;
  }
  void backward(Context& ctx, std::vector<Tensor>, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const Tensor grad =
        ctx.zeros((grad_out[0].defined() ? grad_out[0] : grad_out[1]).shape(), DType::f64);
    for (int k = 0; k < 2; ++k)
      for (int64_t i = 0; grad_out[size_t(k)].defined() && i < grad.elements(); ++i)
        grad.data<double>()[i] += (k + 1) * grad_out[size_t(k)].data<double>()[i];
    grads.put(ctx, 0, grad);
  }
};

// y = x times random numbers of the running scope, drawn again in backward; notes the scope of each
// backward.
struct Noise {
  static constexpr std::string_view kName = "noise";
  Names* log = nullptr;

  static Tensor scaled(Context& ctx, const Tensor& x) {
    const Philox philox(ctx.seed(), purpose_id(ctx.scope()), ctx.step());
    const Tensor y = ctx.empty(x.shape(), DType::f64);
    for (int64_t i = 0; i < y.elements(); ++i)
      y.data<double>()[i] = x.data<double>()[i] * philox.uniform(uint64_t(i));
    return y;
  }
  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved&) const {
    return {scaled(ctx, in[0])};
  }
  void backward(Context& ctx, std::vector<Tensor>, std::span<Tensor> grad_out,
                GradSink& grads) const {
    if (log) log->push_back(ctx.scope());
    grads.put(ctx, 0, scaled(ctx, grad_out[0]));
  }
};

inline Var multiply(Context& ctx, const Var& a, const Var& b) {
  return apply_single(ctx, Multiply{}, {a, b});
}
inline Var add(Context& ctx, const Var& a, const Var& b) {
  return apply_single(ctx, Add{}, {a, b});
}
inline Var noise(Context& ctx, const Var& x, std::string_view name, Names* log = nullptr) {
  const NameScope scope(ctx, name);
  return apply_single(ctx, Noise{log}, {x});
}

}  // namespace tessera::toy
