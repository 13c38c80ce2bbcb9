#include "tests/kernels/op_case.h"

#include <algorithm>

#include "kernels/elementwise/kernel.h"
#include "kernels/launch/cpu/isa.h"
#include "tests/support/rounding.h"

namespace tessera::test {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

std::vector<Isa> machine_isas() {
  std::vector<Isa> isas;
  std::copy_if(std::begin(kIsas), std::end(kIsas), std::back_inserter(isas), isa_supported);
  return isas;
}

Context cpu_context(Isa isa, int threads) {
  return Context({.threads = threads, .isa = isa, .poison = true});
}
Context cpu_context() {
  return cpu_context(best_isa());
}

DType wide(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

double unit_roundoff(DType dtype) {
  return dtype == DType::f64 ? 0x1p-53 : dtype == DType::f32 ? 0x1p-24 : 0x1p-8;
}

Tensor make_tensor(Context& ctx, const Shape& shape, DType dtype, const Vec& values) {
  check(shape.elements() == int64_t(values.size()), "test: {} values for shape {}", values.size(),
        shape);
  Tensor tensor = ctx.empty(shape, dtype);
  if (ctx.is_meta()) return tensor;
  dispatch_compute("make_tensor", dtype, [&]<class S>() {
    std::transform(values.begin(), values.end(), tensor.data<S>(), [](double x) {
      if constexpr (std::is_same_v<S, double>) {
        return x;
      } else {
        return from_float<S>(float(x));
      }
    });
  });
  return tensor;
}

Tensor make_tokens(Context& ctx, const std::vector<int32_t>& values) {
  Tensor tensor = ctx.empty({int64_t(values.size())}, DType::i32);
  if (!ctx.is_meta()) std::copy(values.begin(), values.end(), tensor.data<int32_t>());
  return tensor;
}

Vec representable(std::string_view name, int64_t count, DType dtype, double stddev) {
  Vec values = reference::random_values(name, count, stddev);
  for (double& x : values) {
    if (dtype == DType::bf16) x = reference::round_bf16(x);
    if (dtype == DType::f32) x = reference::round_f32(x);
  }
  return values;
}

AssertionResult fails_with(const std::function<void()>& f, const std::string& message) {
  try {
    f();
  } catch (const Error& error) {
    if (error.what() == message) return AssertionSuccess();
    return AssertionFailure() << "the error is \"" << error.what() << "\"";
  }
  return AssertionFailure() << "there was no error";
}

AssertionResult plans_its_memory(const std::function<Var(Context&)>& f) {
  std::vector<Ledger::Event> timelines[2];
  for (const Device device : {Device::cpu, Device::meta}) {
    Context ctx({.device = device, .threads = 2, .isa = best_isa()});
    ctx.ledger().record_timeline(true);
    {
      const Var y = f(ctx);
      Tensor dy = ctx.zeros(y.value().shape(), y.value().dtype());
      std::vector<Tensor> grads;
      grads.push_back(std::move(dy));
      backward(ctx, std::span(&y, 1), std::move(grads), add_into);
    }
    timelines[size_t(device)] = ctx.ledger().timeline();
  }
  const auto same = [](const Ledger::Event& a, const Ledger::Event& b) {
    return a.tag == b.tag && a.bytes == b.bytes;
  };
  if (timelines[0].empty()) return AssertionFailure() << "nothing was allocated";
  if (std::equal(timelines[0].begin(), timelines[0].end(), timelines[1].begin(), timelines[1].end(),
                 same)) {
    return AssertionSuccess();
  }
  return AssertionFailure() << fmt::format("{} events on cpu, {} on meta, or unlike ones",
                                           timelines[0].size(), timelines[1].size());
}

}  // namespace tessera::test
