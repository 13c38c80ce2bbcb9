#include "kernels/swiglu/kernel.h"

#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/gpu/dispatch.h"
#include "kernels/swiglu/cpu.h"
#include "kernels/swiglu/gpu.h"

namespace tessera {
namespace {

template <class S>
SwigluCpu<S> loops_of(Isa isa) {
  return dispatch_isa(isa, []<Isa level>() { return swiglu_cpu<level, S>(); });
}

void check_gate_up(const Tensor& gate_up) {
  check(gate_up.rank() == 2 && gate_up.shape(1) % 2 == 0,
        "swiglu: gate_up of shape {} is not [R, 2F]", gate_up.shape());
  check(gate_up.is_contiguous(), "swiglu: gate_up of shape {} and strides {} is not contiguous",
        gate_up.shape(), gate_up.strides());
}

void check_tensor(std::string_view name, const Tensor& x, const Tensor& gate_up, int64_t columns) {
  check(x.rank() == 2 && x.shape(0) == gate_up.shape(0) && x.shape(1) == columns &&
            x.dtype() == gate_up.dtype(),
        "swiglu: {} {} of shape {} does not match gate_up, {} of shape {}", x.dtype(), name,
        x.shape(), gate_up.dtype(), gate_up.shape());
  check(x.is_contiguous(), "swiglu: {} of shape {} and strides {} is not contiguous", name,
        x.shape(), x.strides());
}

}  // namespace

// A sigmoid counts 4 operations: exp, add, divide, negate.
KernelCost cost(const SwigluForwardArgs& a) {
  return {.flops = 6.0 * double(a.y.elements()),
          .bytes = double(a.gate_up.bytes()) + double(a.y.bytes())};
}

KernelCost cost(const SwigluBackwardArgs& a) {
  return {.flops = 12.0 * double(a.dy.elements()),
          .bytes = 2.0 * double(a.gate_up.bytes()) + 2.0 * double(a.dy.bytes())};
}

void swiglu_forward(Context& ctx, const SwigluForwardArgs& a) {
  check_gate_up(a.gate_up);
  const int64_t rows = a.gate_up.shape(0), width = a.gate_up.shape(1) / 2;
  check_tensor("y", a.y, a.gate_up, width);
  const KernelScope scope(ctx, "swiglu_forward", cost(a));
  if (ctx.is_meta() || a.y.elements() == 0) return;
  dispatch_compute("swiglu", a.gate_up.dtype(), [&]<class S>() {
    const S* gate_up = a.gate_up.data<S>();
    S* y = a.y.data<S>();
    if (!is_gpu(ctx.device()))
      return loops_of<S>(ctx.isa()).forward(ctx.threads(), gate_up, y, rows, width);
    dispatch_gpu(ctx.device(), [&]<Device device>() {
      swiglu_gpu<device, S>().forward(ctx, gate_up, y, rows, width);
    });
  });
}

void swiglu_backward(Context& ctx, const SwigluBackwardArgs& a) {
  check_gate_up(a.gate_up);
  const int64_t rows = a.gate_up.shape(0), width = a.gate_up.shape(1) / 2;
  check_tensor("dy", a.dy, a.gate_up, width);
  check_tensor("dgate_up", a.dgate_up, a.gate_up, 2 * width);
  check_tensor("y", a.y, a.gate_up, width);
  const KernelScope scope(ctx, "swiglu_backward", cost(a));
  if (ctx.is_meta() || a.dy.elements() == 0) return;
  dispatch_compute("swiglu", a.gate_up.dtype(), [&]<class S>() {
    const S *gate_up = a.gate_up.data<S>(), *dy = a.dy.data<S>();
    S *dgate_up = a.dgate_up.data<S>(), *y = a.y.data<S>();
    if (!is_gpu(ctx.device()))
      return loops_of<S>(ctx.isa()).backward(ctx.threads(), gate_up, dy, dgate_up, y, rows, width);
    dispatch_gpu(ctx.device(), [&]<Device device>() {
      swiglu_gpu<device, S>().backward(ctx, gate_up, dy, dgate_up, y, rows, width);
    });
  });
}

}  // namespace tessera
