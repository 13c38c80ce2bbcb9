#include "kernels/rope/kernel.h"

#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/gpu/dispatch.h"
#include "kernels/rope/cpu.h"
#include "kernels/rope/gpu.h"

namespace tessera {
namespace {

template <class S>
RopeLoop<S> loop_of(Isa isa) {
  return dispatch_isa(isa, []<Isa level>() { return rope_cpu<level, S>(); });
}

void check_table(const RopeArgs& a) {
  const DType dtype = a.x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  check(a.cos.rank() == 2 && a.cos.shape(1) == a.head_dim / 2 && a.cos.shape() == a.sin.shape(),
        "rope: cos of shape {} and sin of shape {} do not fit head_dim {}", a.cos.shape(),
        a.sin.shape(), a.head_dim);
  check(a.cos.dtype() == dtype && a.sin.dtype() == dtype,
        "rope: the table has dtype {}; for x of dtype {} make it {}", a.cos.dtype(), a.x.dtype(),
        dtype);
  check(a.cos.is_contiguous() && a.sin.is_contiguous(), "rope: the table is not contiguous");
}

void check_args(const RopeArgs& a) {
  check(a.x.rank() == 2 && a.x.is_contiguous(),
        "rope: x of shape {} and strides {} is not a contiguous [N, W]", a.x.shape(),
        a.x.strides());
  check(a.y.shape() == a.x.shape() && a.y.dtype() == a.x.dtype() && a.y.is_contiguous(),
        "rope: {} y of shape {} does not match x, {} of shape {}", a.y.dtype(), a.y.shape(),
        a.x.dtype(), a.x.shape());
  check(a.head_dim > 0 && a.head_dim % 2 == 0, "rope: head_dim {} is not even", a.head_dim);
  check(a.heads >= 0 && a.heads * a.head_dim <= a.x.shape(1),
        "rope: {} heads of {} columns do not fit x of shape {}", a.heads, a.head_dim, a.x.shape());
  check(a.positions.dtype() == DType::i32 && a.positions.rank() == 1 &&
            a.positions.is_contiguous() && a.positions.shape(0) == a.x.shape(0),
        "rope: positions must be i32 [{}], not {} of shape {}", a.x.shape(0), a.positions.dtype(),
        a.positions.shape());
  check_table(a);
}

void check_positions(const int32_t* positions, int64_t rows, int64_t limit) {
  for (int64_t row = 0; row < rows; ++row) {
    check(positions[row] >= 0 && positions[row] < limit,
          "rope: position {} of row {} is outside the table of {} positions", positions[row], row,
          limit);
  }
}

template <class S>
RopeCpu<S> loop_args(const RopeArgs& a) {
  using T = RopeAngle<S>;
  return {.x = a.x.data<S>(),
          .y = a.y.data<S>(),
          .positions = a.positions.data<int32_t>(),
          .cos = a.cos.data<T>(),
          .sin = a.sin.data<T>(),
          .rows = a.x.shape(0),
          .columns = a.x.shape(1),
          .heads = a.heads,
          .half = a.head_dim / 2,
          .direction = T(a.inverse ? -1 : 1)};
}

}  // namespace

KernelCost cost(const RopeArgs& a) {
  const double rotated = double(a.x.shape(0)) * double(a.heads * a.head_dim);
  const double copied = a.y.storage() == a.x.storage() ? 0 : double(a.x.elements()) - rotated;
  const double angles = double(a.x.shape(0)) * double(a.head_dim);  // half cos, half sin
  return {.flops = 3 * rotated,
          .bytes = 2 * (rotated + copied) * double(size_of(a.x.dtype())) +
                   angles * double(size_of(a.cos.dtype())) + double(a.positions.bytes())};
}

void rope_rotate(Context& ctx, const RopeArgs& a) {
  check_args(a);
  const KernelScope scope(ctx, "rope", cost(a));
  if (ctx.is_meta() || a.x.elements() == 0) {
    a.y.storage()->bump_version();
    return;
  }
  if (!is_gpu(ctx.device()))
    check_positions(a.positions.data<int32_t>(), a.x.shape(0), a.cos.shape(0));
  a.y.storage()->bump_version();
  dispatch_compute("rope", a.x.dtype(), [&]<class S>() {
    const RopeCpu<S> args = loop_args<S>(a);
    if (!is_gpu(ctx.device())) return loop_of<S>(ctx.isa())(ctx.threads(), args);
    dispatch_gpu(ctx.device(), [&]<Device device>() {
      rope_gpu<device>(ctx, RopeGpu<S>{args, a.cos.shape(0)});
    });
  });
}

}  // namespace tessera
