#include "kernels/elementwise/kernel.h"

#include <cstring>

#include "core/transfer.h"
#include "kernels/elementwise/cpu.h"
#include "kernels/elementwise/gpu.h"
#include "kernels/launch/cpu/isa.h"
#include "kernels/launch/cpu/parallel.h"
#include "kernels/launch/gpu/dispatch.h"

namespace tessera {
namespace {

template <class S>
ElementwiseCpu<S> loops_of(Isa isa) {
  return dispatch_isa(isa, []<Isa level>() { return elementwise_cpu<level, S>(); });
}

ElementwiseMixedCpu mixed_loops_of(Isa isa) {
  return dispatch_isa(isa, []<Isa level>() { return elementwise_mixed_cpu<level>(); });
}

// Calls body with the GPU kernels of the context's device.
template <class S, class Body>
void with_gpu_kernels(Context& ctx, const Body& body) {
  dispatch_gpu(ctx.device(), [&]<Device device>() { body(elementwise_gpu<device, S>()); });
}

void check_contiguous(std::string_view op, std::string_view name, const Tensor& x) {
  check(x.is_contiguous(), "{}: {} of shape {} and strides {} is not contiguous", op, name,
        x.shape(), x.strides());
}

void check_same_shape(std::string_view op, std::string_view a_name, const Tensor& a,
                      std::string_view b_name, const Tensor& b) {
  check(a.shape() == b.shape(), "{}: {} of shape {} does not match {} of shape {}", op, a_name,
        a.shape(), b_name, b.shape());
}

// Equal dtypes copy; the pairs with f64, which only tests use, go one by one.
template <class To, class From>
void convert_rows(Context& ctx, const ConvertRows<To, From>& a) {
  if constexpr (std::is_same_v<To, float> && std::is_same_v<From, bf16>) {
    mixed_loops_of(ctx.isa()).widen(ctx.threads(), a);
  } else if constexpr (std::is_same_v<To, bf16> && std::is_same_v<From, float>) {
    mixed_loops_of(ctx.isa()).round(ctx.threads(), a);
  } else {
    const int64_t grain = (kElementwiseGrain + a.columns - 1) / a.columns;
    parallel_for(ctx.threads(), a.rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        To* to = a.to + row * a.to_stride;
        const From* from = a.from + row * a.from_stride;
        if constexpr (std::is_same_v<To, From>) {
          std::memcpy(to, from, size_t(a.columns) * sizeof(To));
        } else if constexpr (std::is_same_v<From, bf16>) {
          for (int64_t i = 0; i < a.columns; ++i) to[i] = from_float<To>(to_float(from[i]));
        } else if constexpr (std::is_same_v<To, bf16>) {
          for (int64_t i = 0; i < a.columns; ++i) to[i] = from_float<bf16>(float(from[i]));
        } else {
          for (int64_t i = 0; i < a.columns; ++i) to[i] = To(from[i]);
        }
      }
    });
  }
}

template <class To, class From>
void convert_typed(Context& ctx, const Tensor& to, const Tensor& from) {
  ConvertRows<To, From> a{.to = to.data<To>(),
                          .from = from.data<From>(),
                          .to_stride = 0,
                          .from_stride = 0,
                          .rows = 0,
                          .columns = 0};
  if (to.elements() == 0) return;
  const auto run_gpu = [&]<Device device>() { convert_gpu<device>(ctx, a); };
  if (!to.is_contiguous() || !from.is_contiguous()) {
    a.rows = to.shape(0), a.columns = to.shape(1);
    a.to_stride = to.stride(0), a.from_stride = from.stride(0);
    return is_gpu(ctx.device()) ? dispatch_gpu(ctx.device(), run_gpu) : convert_rows(ctx, a);
  }
  if (is_gpu(ctx.device())) {
    a.rows = 1, a.columns = to.elements();
    return dispatch_gpu(ctx.device(), run_gpu);
  }
  constexpr int64_t kColumns = 4096;  // a contiguous tensor is cut into rows for the threads
  const int64_t rest = to.elements() % kColumns;
  a.rows = to.elements() / kColumns;
  a.columns = a.to_stride = a.from_stride = kColumns;
  convert_rows(ctx, a);
  if (rest == 0) return;
  a.to += a.rows * kColumns, a.from += a.rows * kColumns;
  a.rows = 1, a.columns = rest;
  convert_rows(ctx, a);
}

template <class S>
void add_typed(Context& ctx, S* sum, const S* a, const S* b, int64_t n) {
  if (!is_gpu(ctx.device())) return loops_of<S>(ctx.isa()).add(ctx.threads(), sum, a, b, n);
  with_gpu_kernels<S>(ctx, [&](const ElementwiseGpu<S>& gpu) { gpu.add(ctx, sum, a, b, n); });
}

template <class S>
void scale_typed(Context& ctx, const Tensor& x, double factor) {
  const int64_t n = x.elements();
  S* values = x.data<S>();
  if (!is_gpu(ctx.device())) return loops_of<S>(ctx.isa()).scale(ctx.threads(), values, factor, n);
  with_gpu_kernels<S>(ctx,
                      [&](const ElementwiseGpu<S>& gpu) { gpu.scale(ctx, values, factor, n); });
}

bool has_rows(const Tensor& x) {
  return x.is_contiguous() || (x.rank() == 2 && x.stride(1) == 1);
}

}  // namespace

KernelCost add_into_cost(const Tensor& into, const Tensor& from) {
  return {.flops = double(into.elements()), .bytes = 2.0 * into.bytes() + from.bytes()};
}
KernelCost add_tensors_cost(const Tensor& a) {
  return {.flops = double(a.elements()), .bytes = 3.0 * a.bytes()};
}
KernelCost scale_cost(const Tensor& x) {
  return {.flops = double(x.elements()), .bytes = 2.0 * x.bytes()};
}
KernelCost scale_by_cost(const Tensor& factor) {
  return {.flops = 0, .bytes = double(factor.bytes())};
}
KernelCost convert_cost(const Tensor& to, const Tensor& from) {
  return {.flops = 0, .bytes = double(to.bytes()) + from.bytes()};
}
KernelCost all_finite_cost(const Tensor& x) {
  return {.flops = double(x.elements()), .bytes = double(x.bytes())};
}

void add_into(Context& ctx, const Tensor& into, const Tensor& from) {
  check_same_shape("add_into", "from", from, "into", into);
  const bool mixed = into.dtype() == DType::f32 && from.dtype() == DType::bf16;
  check(mixed || into.dtype() == from.dtype(),
        "add_into: cannot add {} to {}; use equal dtypes, or bf16 to f32", from.dtype(),
        into.dtype());
  check_contiguous("add_into", "into", into);
  check_contiguous("add_into", "from", from);
  into.storage()->bump_version();
  const KernelScope scope(ctx, "add_into", add_into_cost(into, from));
  const int64_t n = into.elements();
  if (ctx.is_meta() || n == 0) return;
  if (mixed) {
    float* to = into.data<float>();
    const bf16* values = from.data<bf16>();
    if (!is_gpu(ctx.device()))
      return mixed_loops_of(ctx.isa()).add_into(ctx.threads(), to, values, n);
    return dispatch_gpu(ctx.device(),
                        [&]<Device device>() { add_bf16_into_gpu<device>(ctx, to, values, n); });
  }
  dispatch_compute("add_into", into.dtype(), [&]<class S>() {
    add_typed(ctx, into.data<S>(), into.data<S>(), from.data<S>(), n);
  });
}

void add_tensors(Context& ctx, const Tensor& a, const Tensor& b, const Tensor& sum) {
  check_same_shape("add", "b", b, "a", a);
  check_same_shape("add", "sum", sum, "a", a);
  check(a.dtype() == b.dtype() && a.dtype() == sum.dtype(),
        "add: dtypes {} and {} do not give {}; use equal dtypes", a.dtype(), b.dtype(),
        sum.dtype());
  check_contiguous("add", "a", a);
  check_contiguous("add", "b", b);
  check_contiguous("add", "sum", sum);
  const KernelScope scope(ctx, "add", add_tensors_cost(a));
  if (ctx.is_meta() || a.elements() == 0) return;
  dispatch_compute("add", a.dtype(), [&]<class S>() {
    add_typed(ctx, sum.data<S>(), a.data<S>(), b.data<S>(), a.elements());
  });
}

void scale(Context& ctx, const Tensor& x, double factor) {
  check_contiguous("scale", "x", x);
  x.storage()->bump_version();
  const KernelScope scope(ctx, "scale", scale_cost(x));
  if (ctx.is_meta() || x.elements() == 0) return;
  dispatch_compute("scale", x.dtype(), [&]<class S>() { scale_typed<S>(ctx, x, factor); });
}

void scale_by(Context& ctx, const Tensor& x, const Tensor& factor) {
  check_contiguous("scale_by", "x", x);
  const DType dtype = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  check(factor.elements() == 1 && factor.dtype() == dtype,
        "scale_by: the factor is {} of shape {}; for x of dtype {} it is one {}", factor.dtype(),
        factor.shape(), x.dtype(), dtype);
  x.storage()->bump_version();
  const KernelScope scope(ctx, "scale_by", scale_by_cost(factor));
  if (ctx.is_meta() || x.elements() == 0) return;
  dispatch_compute("scale_by", x.dtype(), [&]<class S>() {
    using Factor = typename ElementwiseGpu<S>::Factor;
    const Factor* value = factor.data<Factor>();
    if (!is_gpu(ctx.device())) {
      if (*value != 1) scale_typed<S>(ctx, x, double(*value));
      return;
    }
    with_gpu_kernels<S>(ctx, [&](const ElementwiseGpu<S>& gpu) {
      gpu.scale_by(ctx, x.data<S>(), value, x.elements());
    });
  });
}

void convert(Context& ctx, const Tensor& to, const Tensor& from) {
  check_same_shape("convert", "from", from, "to", to);
  check(has_rows(to) && has_rows(from),
        "convert: strides {} to {}; both must be contiguous, or of rank 2 with contiguous rows",
        from.strides(), to.strides());
  to.storage()->bump_version();
  const KernelScope scope(ctx, "convert", convert_cost(to, from));
  if (ctx.is_meta()) return;
  dispatch_compute("convert", to.dtype(), [&]<class To>() {
    dispatch_compute("convert", from.dtype(),
                     [&]<class From>() { convert_typed<To, From>(ctx, to, from); });
  });
}

bool all_finite(Context& ctx, const Tensor& x) {
  check_contiguous("all_finite", "x", x);
  const KernelScope scope(ctx, "all_finite", all_finite_cost(x));
  const Tensor found =
      is_gpu(ctx.target()) ? ctx.zeros({1}, DType::i32, MemoryTag::workspace) : Tensor();
  if (ctx.is_meta() || x.elements() == 0) return true;
  return dispatch_compute("all_finite", x.dtype(), [&]<class S>() {
    const S* values = x.data<S>();
    const int64_t n = x.elements();
    if (!is_gpu(ctx.device())) return loops_of<S>(ctx.isa()).all_finite(ctx.threads(), values, n);
    with_gpu_kernels<S>(ctx, [&](const ElementwiseGpu<S>& gpu) {
      gpu.find_non_finite(ctx, values, n, found.data<int32_t>());
    });
    return to_vector<int32_t>(found)[0] == 0;
  });
}

}  // namespace tessera
