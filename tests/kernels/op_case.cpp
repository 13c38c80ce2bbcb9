#include "tests/kernels/op_case.h"

#include <algorithm>

#include "core/transfer.h"
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

std::vector<Device> built_devices() {
  std::vector<Device> devices{Device::cpu};
#ifdef TESSERA_WITH_SIMT
  devices.push_back(Device::simt);
#endif
#ifdef TESSERA_WITH_CUDA
  devices.push_back(Device::cuda);
#endif
  return devices;
}

std::vector<Device> test_devices() {
  std::vector<Device> devices = built_devices();
  if (cuda_device_count() == 0) std::erase(devices, Device::cuda);
  return devices;
}

Context device_context(Device device, int threads) {
  return Context({.device = device, .threads = threads, .isa = best_isa(), .poison = true});
}

void DeviceTest::SetUp() {
  if (GetParam() == Device::cuda && cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
}

std::string device_name(const ::testing::TestParamInfo<Device>& info) {
  return std::string(name_of(info.param));
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
  dispatch_compute("make_tensor", dtype, [&]<class S>() {
    std::vector<S> stored(values.size());
    std::transform(values.begin(), values.end(), stored.begin(), [](double x) {
      if constexpr (std::is_same_v<S, double>) {
        return x;
      } else {
        return from_float<S>(float(x));
      }
    });
    upload(tensor, stored.data());
  });
  return tensor;
}

Tensor make_tokens(Context& ctx, const std::vector<int32_t>& values) {
  return int_tensor(ctx, values);
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

namespace {

// What a forward and backward pass of f books on the device; on `meta`, planned for `planned`.
std::vector<Ledger::Event> timeline_of(Device device, Device planned,
                                       const std::function<Var(Context&)>& f) {
  Context ctx({.device = device, .planned = planned, .threads = 2, .isa = best_isa()});
  ctx.ledger().record_timeline(true);
  {
    const Var y = f(ctx);
    Tensor dy = ctx.zeros(y.value().shape(), y.value().dtype());
    std::vector<Tensor> grads;
    grads.push_back(std::move(dy));
    backward(ctx, std::span(&y, 1), std::move(grads), add_into);
  }
  return ctx.ledger().timeline();
}

}  // namespace

AssertionResult plans_its_memory(const std::function<Var(Context&)>& f) {
  const auto same = [](const Ledger::Event& a, const Ledger::Event& b) {
    return a.tag == b.tag && a.bytes == b.bytes;
  };
  for (const Device device : test_devices()) {
    const std::vector<Ledger::Event> plan = timeline_of(Device::meta, device, f);
    const std::vector<Ledger::Event> run = timeline_of(device, device, f);
    if (plan.empty()) return AssertionFailure() << "nothing was allocated";
    if (std::equal(run.begin(), run.end(), plan.begin(), plan.end(), same)) continue;
    return AssertionFailure() << fmt::format("{} events on {}, {} on meta, or unlike ones",
                                             run.size(), name_of(device), plan.size());
  }
  return AssertionSuccess();
}

}  // namespace tessera::test
