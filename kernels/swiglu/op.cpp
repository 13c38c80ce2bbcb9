#include "kernels/swiglu/op.h"

#include "kernels/linear/layer.h"
#include "kernels/swiglu/kernel.h"

namespace tessera {
namespace {

struct SwigluLinear {
  static constexpr std::string_view kName = "swiglu_linear";

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor &gate_up = in[0], &weight = in[1];
    check(gate_up.rank() == 2, "swiglu: gate_up of shape {} is not [R, 2F]", gate_up.shape());
    const Tensor h = ctx.empty({gate_up.shape(0), gate_up.shape(1) / 2}, gate_up.dtype());
    swiglu_forward(ctx, {.gate_up = gate_up, .y = h});
    saved.keep({gate_up, weight});
    return {linear_forward(ctx, h, weight, {})};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const Tensor gate_up = std::move(saved[0]);
    const Tensor &weight = saved[1], &dy = grad_out[0];
    const Tensor h = ctx.empty({gate_up.shape(0), weight.shape(1)}, gate_up.dtype());
    linear_input_gradient(ctx, dy, weight, h, false);  // dh, until swiglu_backward
    const Tensor dgate_up =
        gate_up.is_exclusive() ? gate_up : ctx.empty(gate_up.shape(), gate_up.dtype());
    swiglu_backward(ctx, {.gate_up = gate_up, .dy = h, .dgate_up = dgate_up, .y = h});
    linear_weight_gradient(ctx, grads, 1, dy, h);
    if (grads.wanted(0)) grads.put(ctx, 0, dgate_up);
  }
};

}  // namespace

Var swiglu_linear(Context& ctx, const Var& gate_up, const Var& weight) {
  return apply_single(ctx, SwigluLinear{}, {gate_up, weight});
}

}  // namespace tessera
