#include "kernels/elementwise/op.h"

namespace tessera {
namespace {

struct Add {
  static constexpr std::string_view kName = "add";

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved&) const {
    Tensor sum = ctx.empty(in[0].shape(), in[0].dtype());
    add_tensors(ctx, in[0], in[1], sum);
    return {std::move(sum)};
  }

  void backward(Context& ctx, std::vector<Tensor>, std::span<Tensor> grad_out,
                GradSink& grads) const {
    if (grads.wanted(0)) grads.put(ctx, 0, grad_out[0]);
    if (grads.wanted(1)) grads.put(ctx, 1, std::move(grad_out[0]));
  }
};

}  // namespace

Var add(Context& ctx, const Var& a, const Var& b) {
  return apply_single(ctx, Add{}, {a, b});
}

}  // namespace tessera
