#include "kernels/swiglu/op.h"

#include "kernels/swiglu/kernel.h"

namespace tessera {
namespace {

struct Swiglu {
  static constexpr std::string_view kName = "swiglu";

  std::vector<Tensor> forward(Context& ctx, std::span<const Tensor> in, Saved& saved) const {
    const Tensor& gate_up = in[0];
    check(gate_up.rank() == 2, "swiglu: gate_up of shape {} is not [R, 2F]", gate_up.shape());
    Tensor y = ctx.empty({gate_up.shape(0), gate_up.shape(1) / 2}, gate_up.dtype());
    swiglu_forward(ctx, {.gate_up = gate_up, .y = y});
    saved.keep({gate_up});
    return {std::move(y)};
  }

  void backward(Context& ctx, std::vector<Tensor> saved, std::span<Tensor> grad_out,
                GradSink& grads) const {
    const Tensor gate_up = std::move(saved[0]);
    const Tensor dgate_up =
        gate_up.is_exclusive() ? gate_up : ctx.empty(gate_up.shape(), gate_up.dtype());
    swiglu_backward(ctx, {.gate_up = gate_up, .dy = grad_out[0], .dgate_up = dgate_up});
    grads.put(ctx, 0, dgate_up);
  }
};

}  // namespace

Var swiglu(Context& ctx, const Var& gate_up) {
  return apply_single(ctx, Swiglu{}, {gate_up});
}

}  // namespace tessera
