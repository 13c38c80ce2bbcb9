// The attention kernels with AddressSanitizer: forward, and backward with either kind of sums of
// dq. Guarded are the ends of tensors, shared memory outside of the kernel's arrays, and stacks.
// The values are tested elsewhere. ctest runs the sample; the program on its own runs the cases of
// the other tests, too.
#include <gtest/gtest.h>

#include "kernels/launch/gpu/launch.h"
#include "tests/kernels/attention_device.h"
#include "tests/kernels/attention_sample.h"

namespace tessera::test {
namespace {

void run(const AttentionCase& c, DType dtype) {
  Context ctx = attention_context(Device::simt);
  DeviceAttention attention(ctx, c, make_inputs(c, dtype), dtype);
  attention.run(ctx);
  attention.backward.options.deterministic = false;
  attention_backward(ctx, attention.backward);
}

class AttentionAsan : public ::testing::TestWithParam<AttentionPoint> {};

TEST_P(AttentionAsan, TouchesOnlyItsMemory) {
  run(GetParam().problem, GetParam().dtype);
}

std::string name_of_point(const ::testing::TestParamInfo<AttentionPoint>& test) {
  return test.param.problem.name;
}

INSTANTIATE_TEST_SUITE_P(Sample, AttentionAsan,
                         ::testing::ValuesIn(sample_of_grid(3, 33, AttentionLengths::few)),
                         name_of_point);

std::vector<AttentionPoint> cases_as_points() {
  std::vector<AttentionPoint> points;
  for (const AttentionCase& c : attention_cases())
    points.push_back({c, c.head_dim % 8 == 0 ? DType::bf16 : DType::f32});
  return points;
}
INSTANTIATE_TEST_SUITE_P(Cases, AttentionAsan, ::testing::ValuesIn(cases_as_points()),
                         name_of_point);

void read_kernel(const float* x, int i, float* y) {
  *y = x[i];
}

TEST(AttentionAsanDeathTest, StopsAtReadsBeyondATensor) {
  Context ctx = attention_context(Device::simt, /*threads=*/1);
  const Tensor y = ctx.zeros({1}, DType::f32), x = ctx.zeros({16}, DType::f32);
  const auto read = [&](int i) {
    gpu::launch(ctx, read_kernel, {.threads = 1}, x.data<float>(), i, y.data<float>());
  };
  read(15);
  EXPECT_DEATH(read(16), "use-after-poison.*");
  EXPECT_DEATH(read(-1), "use-after-poison.*");
}

}  // namespace
}  // namespace tessera::test
