// The flash-attention kernels on emulated GPUs with less than an A100 has: on Turing (64 KiB of
// shared memory a block, no cp.async, products of depth 8, none of bf16) and on sm_86 (99 KiB).
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/kernels/attention_device.h"
#include "tests/kernels/device_case.h"

namespace tessera::test {
namespace {

constexpr const char *kTuring = "architecture=75", *kAmpere = "architecture=86";

struct Run {
  std::string gpu;  // options of the emulator
  AttentionCase problem;
  DType dtype = DType::f16;
  bool deterministic = true;
};

std::ostream& operator<<(std::ostream& out, const Run& run) {
  return out << run.problem.name;
}

AttentionCase find_case(const std::string& name) {
  const std::vector<AttentionCase>& cases = attention_cases();
  const auto found = std::ranges::find(cases, name, &AttentionCase::name);
  check(found != cases.end(), "no attention case {}", name);
  return *found;
}

std::vector<Run> runs() {
  std::vector<Run> runs;
  for (const char* name :
       {"d40_gqa_causal", "d80_more_queries_than_keys", "d96_window_left", "d128_full", "d160",
        "d224_causal", "d256_gqa_causal", "decode_three", "packed", "packed_window",
        "softcap_50_window", "alibi_softcap_causal", "sink_causal"}) {
    runs.push_back({.gpu = kTuring, .problem = find_case(name)});
  }
  AttentionCase c{.segments = {{150, 140}}, .q_heads = 2, .kv_heads = 1, .causal = true};
  const auto add = [&](const char* name, const char* gpu, int head_dim, DType dtype) -> Run& {
    c.name = name;
    c.head_dim = head_dim;
    return runs.emplace_back(gpu, c, dtype);
  };
  add("f32", kTuring, 128, DType::f32);
  add("dropout", kTuring, 128, DType::f16).problem.dropout = 0.1;
  for (const int head_dim : {128, 256}) add("bf16", kAmpere, head_dim, DType::bf16);
  for (const int head_dim : {64, 128})
    add("bf16_atomics", kAmpere, head_dim, DType::bf16).deterministic = false;
  add("bf16_dropout", kAmpere, 128, DType::bf16).problem.dropout = 0.1;
  for (Run& run : runs) {
    run.problem.name = fmt::format("sm{}_{}_d{}", run.gpu == kTuring ? 75 : 86, run.problem.name,
                                   run.problem.head_dim);
  }
  return runs;
}

class AttentionSmallGpu : public ::testing::TestWithParam<Run> {};
INSTANTIATE_TEST_SUITE_P(Cases, AttentionSmallGpu, ::testing::ValuesIn(runs()),
                         [](const auto& test) { return test.param.problem.name; });

TEST_P(AttentionSmallGpu, IsAsGoodAsTheFormula) {
  const auto& [gpu, problem, dtype, deterministic] = GetParam();
  const EmulatorOptions scope(gpu);
  const AttentionInputs in = make_inputs(problem, dtype);
  Context ctx = attention_context(Device::simt);
  DeviceAttention attention(ctx, problem, in, dtype);
  attention.backward.options.deterministic = deterministic;
  attention.run(ctx);
  expect_answer(problem, in, dtype, attention);
}

TEST(AttentionSmallGpuErrors, SayWhatTheGpuLacks) {
  const EmulatorOptions scope(kTuring);
  const auto error_of = [](DType dtype, int head_dim) -> std::string {
    const AttentionCase c{.name = "error", .segments = {{3, 3}}, .head_dim = head_dim};
    Context ctx = attention_context(Device::simt);
    DeviceAttention attention(ctx, c, make_inputs(c, dtype), dtype);
    try {
      attention_forward(ctx, attention.forward);
      attention_backward(ctx, attention.backward);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of(DType::bf16, 64),
            "attention: bf16 is not supported on simt (sm_75), whose tensor cores lack it; use f16 "
            "or f32");
  for (const auto& [dtype, head_dim] : {std::pair{DType::f32, 136}, {DType::f64, 16}}) {
    EXPECT_EQ(error_of(dtype, head_dim),
              fmt::format("attention: {} with head size {} needs more shared memory a block than "
                          "the 65536 bytes of simt (sm_75); use f16, or f32 with head sizes up to "
                          "128",
                          dtype, head_dim));
  }
  EXPECT_EQ(error_of(DType::f16, 256), "");
  EXPECT_EQ(error_of(DType::f32, 128), "");
}

}  // namespace
}  // namespace tessera::test
