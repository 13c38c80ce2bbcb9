#include "tests/kernels/device_case.h"

#include <cstdlib>

#include "core/transfer.h"

namespace tessera::test {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

namespace {

constexpr const char* kVariable = "TESSERA_SIMT";

std::vector<Tensor> run_variant(Device device, int variant,
                                const std::function<std::vector<Tensor>(Context&)>& run) {
  if (device == Device::cpu) {
    Context ctx = cpu_context(machine_isas().back(), variant);
    return run(ctx);
  }
  const EmulatorSeed seed(variant);
  Context ctx = device_context(device);
  return run(ctx);
}

}  // namespace

EmulatorOptions::EmulatorOptions(const std::string& options) {
  if (const char* value = std::getenv(kVariable)) before_ = value;
  const std::string text = before_ + (before_.empty() ? "" : ",") + options;
  setenv(kVariable, text.c_str(), /*overwrite=*/1);
}

EmulatorSeed::EmulatorSeed(int seed) : EmulatorOptions(fmt::format("seed={}", seed)) {}

EmulatorOptions::~EmulatorOptions() {
  before_.empty() ? unsetenv(kVariable) : setenv(kVariable, before_.c_str(), /*overwrite=*/1);
}

AssertionResult is_reproducible(Device device,
                                const std::function<std::vector<Tensor>(Context&)>& run) {
  const std::vector<Tensor> first = run_variant(device, 1, run);
  for (const int variant : {2, 3}) {
    const std::vector<Tensor> again = run_variant(device, variant, run);
    for (size_t i = 0; i < first.size(); ++i) {
      if (const AssertionResult equal = is_bitwise_equal(again[i], first[i]); !equal)
        return AssertionFailure() << "tensor " << i << ", variant " << variant << ": "
                                  << equal.message();
    }
  }
  return AssertionSuccess();
}

Tensor make_unaligned(Context& ctx, const Shape& shape, DType dtype, const Vec& values) {
  const int64_t n = shape.elements();
  const Tensor view = ctx.empty({n + 1}, dtype).slice(0, 1, n + 1).view(shape);
  upload(view, to_host(make_tensor(ctx, shape, dtype, values)).raw());
  return view;
}

}  // namespace tessera::test
