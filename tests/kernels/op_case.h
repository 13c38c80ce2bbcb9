// What the tests of op families share: contexts for every instruction-set level, tensors from
// values in double, and the checks that every op must pass.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "core/autograd/engine.h"
#include "core/autograd/op.h"
#include "tests/support/gradcheck.h"
#include "tests/support/values.h"

namespace tessera {
inline void PrintTo(Device device, std::ostream* out) {
  *out << name_of(device);
}
}  // namespace tessera

namespace tessera::test {

using reference::Vec;

inline constexpr DType kComputeTypes[] = {DType::f32, DType::bf16, DType::f64};
inline constexpr int64_t kAwkwardSizes[] = {1, 31, 33, 127, 4099};

// The levels that this machine can run.
std::vector<Isa> machine_isas();

// The devices with data that this build has and this machine can run: cpu, then simt and cuda.
std::vector<Device> test_devices();
// A context on any of them whose fresh memory is NaN; on cpu at the machine's highest level.
Context device_context(Device device, int threads = 2);

// For tests that run on every device of the build:
//   class RmsNormOn : public DeviceTest {};
//   TEST_P(RmsNormOn, MatchesTheReference) { Context ctx = context(); ... }
//   INSTANTIATE_TEST_SUITE_P(Devices, RmsNormOn, ::testing::ValuesIn(built_devices()),
//   device_name);
// Where there is no GPU, those for cuda are skipped; ctest -L gpu runs them alone.
class DeviceTest : public ::testing::TestWithParam<Device> {
 protected:
  void SetUp() override;
  Context context(int threads = 2) const { return device_context(GetParam(), threads); }
  // Every element on cpu; random directions alone where a launch costs milliseconds.
  GradcheckOptions gradcheck_options() const {
    return {.max_elements = GetParam() == Device::cpu ? 4096 : 0};
  }
};
std::vector<Device> built_devices();
std::string device_name(const ::testing::TestParamInfo<Device>& info);

// A context on the CPU whose fresh memory is NaN.
Context cpu_context(Isa isa, int threads = 1);
Context cpu_context();  // the machine's highest level

// The dtype that goes with `dtype` for weights, statistics and gradients of parameters.
DType wide(DType dtype);

// Half the distance from 1 to the next number.
double unit_roundoff(DType dtype);

// A contiguous tensor with the values, rounded to nearest even.
Tensor make_tensor(Context& ctx, const Shape& shape, DType dtype, const Vec& values);
Tensor make_tokens(Context& ctx, const std::vector<int32_t>& values);

// Normal numbers, a function of `name`, that the dtype represents exactly.
Vec representable(std::string_view name, int64_t count, DType dtype, double stddev = 1);

// Whether f throws an Error with exactly this text.
::testing::AssertionResult fails_with(const std::function<void()>& f, const std::string& message);

// Whether a forward and backward pass of f books the same memory, event by event, on every device
// as on `meta`. f makes its inputs and calls the ops.
::testing::AssertionResult plans_its_memory(const std::function<Var(Context&)>& f);

}  // namespace tessera::test
