// The flash-attention kernels of GPUs against the reference, on every GPU device of the build.
#include <gtest/gtest.h>

#include "tests/kernels/attention_device.h"
#include "tests/kernels/op_case.h"

namespace tessera::test {
namespace {

std::vector<Device> gpu_devices() {
  std::vector<Device> devices = test_devices();
  std::erase(devices, Device::cpu);
  return devices;
}

void expect_good_answers(const AttentionCase& c, DType dtype) {
  const AttentionInputs in = make_inputs(c, dtype);
  for (const Device device : gpu_devices()) {
    SCOPED_TRACE(fmt::format("{} {} {}", c.name, dtype, name_of(device)));
    Context ctx = attention_context(device);
    DeviceAttention attention(ctx, c, in, dtype);
    attention.run(ctx);
    expect_answer(c, in, dtype, attention);
  }
}

bool fits_tensor_cores(const AttentionCase& c) {
  return c.head_dim % 8 == 0;
}

// Lengths that the naive reference computes in a moment.
bool is_short(const AttentionCase& c) {
  return query_offsets(c).back() * key_offsets(c).back() < 70000;
}

class AttentionGpu : public ::testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionGpu, IsAsGoodAsTheFormulaInBf16) {
  expect_good_answers(GetParam(), DType::bf16);
}

std::vector<AttentionCase> bf16_cases() {
  std::vector<AttentionCase> cases;
  for (const AttentionCase& c : attention_cases()) {
    if (fits_tensor_cores(c) && is_short(c)) cases.push_back(c);
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionGpu, ::testing::ValuesIn(bf16_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tessera::test
