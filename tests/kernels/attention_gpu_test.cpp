// The flash-attention kernels of GPUs against the reference, on every GPU device of the build.
#include <gtest/gtest.h>

#include "core/transfer.h"
#include "kernels/attention/gpu.h"
#include "kernels/attention/op.h"
#include "kernels/elementwise/kernel.h"
#include "tests/kernels/attention_device.h"
#include "tests/kernels/attention_sample.h"
#include "tests/kernels/device_case.h"

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

int64_t pairs_of(const AttentionCase& c) {
  int64_t pairs = 0;
  for (const auto& [queries, keys] : c.segments) pairs += int64_t(queries) * keys;
  return pairs;
}

// The cases whose pairs the naive reference and the emulator compute in a moment.
std::vector<AttentionCase> cases_for(DType dtype, int64_t most_pairs) {
  std::vector<AttentionCase> cases;
  for (const AttentionCase& c : attention_cases()) {
    const bool is_short = pairs_of(c) < most_pairs;
    if ((is_short || c.alibi || c.sink) && (size_of(dtype) != 2 || c.head_dim % 8 == 0))
      cases.push_back(c);
  }
  return cases;
}

std::string case_name(const ::testing::TestParamInfo<AttentionCase>& test) {
  return test.param.name;
}

// Results as they stand in memory.
struct Bytes {
  std::vector<Vec> tensors;
  bool operator==(const Bytes&) const = default;
};

Bytes run_case(Device device, const AttentionCase& c, DType dtype = DType::bf16) {
  Context ctx = attention_context(device);
  DeviceAttention attention(ctx, c, make_inputs(c, dtype), dtype);
  attention.run(ctx);
  return {{values_of(attention.forward.o).data, values_of(attention.forward.lse).data,
           values_of(attention.backward.dq).data, values_of(attention.backward.dk).data,
           values_of(attention.backward.dv).data}};
}

class AttentionGpu : public ::testing::TestWithParam<AttentionCase> {};
class AttentionGpuBf16 : public AttentionGpu {};
class AttentionGpuF16 : public AttentionGpu {};
class AttentionGpuF32 : public AttentionGpu {};
class AttentionGpuF64 : public AttentionGpu {};
class AttentionGpuSample : public ::testing::TestWithParam<AttentionPoint> {};

TEST_P(AttentionGpuBf16, IsAsGoodAsTheFormula) {
  expect_good_answers(GetParam(), DType::bf16);
}
TEST_P(AttentionGpuF16, IsAsGoodAsTheFormula) {
  expect_good_answers(GetParam(), DType::f16);
}
TEST_P(AttentionGpuF32, IsAsGoodAsTheFormula) {
  expect_good_answers(GetParam(), DType::f32);
}
TEST_P(AttentionGpuF64, IsExact) {
  expect_good_answers(GetParam(), DType::f64);
}
TEST_P(AttentionGpuSample, IsAsGoodAsTheFormula) {
  expect_good_answers(GetParam().problem, GetParam().dtype);
}
// With the seed of the test above, three of them.
TEST_P(AttentionGpuSample, GivesTheSameBitsUnderEverySchedule) {
  const auto& [c, dtype] = GetParam();
  const EmulatorSeed second(2);
  const Bytes expected = run_case(Device::simt, c, dtype);
  const EmulatorSeed third(3);
  EXPECT_EQ(run_case(Device::simt, c, dtype), expected);
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionGpuBf16,
                         ::testing::ValuesIn(cases_for(DType::bf16, 70000)), case_name);
INSTANTIATE_TEST_SUITE_P(Cases, AttentionGpuF16, ::testing::ValuesIn(cases_for(DType::f16, 10000)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Cases, AttentionGpuF32, ::testing::ValuesIn(cases_for(DType::f32, 10000)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Cases, AttentionGpuF64, ::testing::ValuesIn(cases_for(DType::f64, 3000)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Grid, AttentionGpuSample,
                         ::testing::ValuesIn(sample_of_grid(1, 28, AttentionLengths::usual)),
                         [](const auto& test) { return test.param.problem.name; });

// dq by atomics: the same sums in another order. Problems with terms that the one-pass kernel lacks
// run the deterministic ones.
class AttentionGpuAtomics : public AttentionGpu {};

TEST_P(AttentionGpuAtomics, IsAsGoodAsTheFormula) {
  const AttentionCase& c = GetParam();
  const AttentionInputs in = make_inputs(c, DType::bf16);
  for (const Device device : gpu_devices()) {
    SCOPED_TRACE(name_of(device));
    Context ctx = attention_context(device);
    DeviceAttention attention(ctx, c, in, DType::bf16);
    attention.backward.options.deterministic = false;
    attention.run(ctx);
    expect_answer(c, in, DType::bf16, attention);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionGpuAtomics,
                         ::testing::ValuesIn(cases_for(DType::bf16, 30000)), case_name);

TEST(AttentionAtomics, TakeMemoryForTheSumsOnlyWhereTheyRun) {
  AttentionProblem p{.dtype = DType::bf16, .q_tokens = 100, .q_heads = 3, .head_dim = 64};
  EXPECT_EQ(attention_gpu_backward_workspace(p), 100u * 3 * 2 * sizeof(float));
  p.deterministic = false;
  EXPECT_EQ(attention_gpu_backward_workspace(p), 100u * 3 * 66 * sizeof(float));
  p.dropout = 0.1;
  EXPECT_EQ(attention_gpu_backward_workspace(p), 100u * 3 * 2 * sizeof(float));
}

class AttentionGpuOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, AttentionGpuOn, ::testing::ValuesIn(gpu_devices()), device_name);

// Every way of cutting the work gives the same bits whatever the order of warps and blocks.
TEST_P(AttentionGpuOn, GivesTheSameBitsInEveryRun) {
  AttentionCase c{.name = "bits",
                  .segments = {{150, 150}, {40, 90}},
                  .q_heads = 4,
                  .kv_heads = 2,
                  .causal = true};
  std::vector<std::pair<AttentionCase, DType>> runs;
  for (const int head_dim : {64, 128, 256}) {
    c.head_dim = head_dim;
    runs.emplace_back(c, DType::bf16);
  }
  c.dropout = 0.1;
  c.head_dim = 64;
  runs.emplace_back(c, DType::f16);
  c.head_dim = 20;
  runs.emplace_back(c, DType::f32);
  for (const auto& [run, dtype] : runs) {
    const Bytes first = run_case(GetParam(), run, dtype);
    for (const int seed : {11, 12, 13}) {
      const EmulatorSeed scope(seed);
      EXPECT_EQ(run_case(GetParam(), run, dtype), first)
          << "D " << run.head_dim << " seed " << seed;
    }
  }
}

// A window of all keys to the left is causality, bit for bit; so is one of 0 to the right.
TEST_P(AttentionGpuOn, TakesAWindowOfAllKeysForCausality) {
  AttentionCase causal{.name = "causal", .segments = {{90, 90}}, .causal = true};
  AttentionCase window = causal, right = causal;
  window.window_left = 89;
  right.causal = false;
  right.window_right = 0;
  const Bytes expected = run_case(GetParam(), causal);
  EXPECT_EQ(run_case(GetParam(), window), expected);
  EXPECT_EQ(run_case(GetParam(), right), expected);
}

// Windows are inclusive: with one key to the left, the first query sees one key, the second two.
TEST_P(AttentionGpuOn, CountsTheEndsOfAWindowIn) {
  const AttentionCase c{
      .name = "two", .segments = {{3, 3}}, .causal = true, .window_left = 1, .q_factor = 0};
  const Bytes results = run_case(GetParam(), c);
  const Vec& lse = results.tensors[1];
  EXPECT_NEAR(lse[0], 0, 1e-6);
  EXPECT_NEAR(lse[1], std::log(2), 1e-6);
  EXPECT_NEAR(lse[2], std::log(2), 1e-6);
}

TEST_P(AttentionGpuOn, TakesNoQueriesAndNoKeys) {
  for (const std::pair<int, int>& lengths : {std::pair{0, 70}, std::pair{70, 0}}) {
    const AttentionCase c{.name = "none", .segments = {lengths}, .q_heads = 2, .kv_heads = 1};
    const AttentionInputs in = make_inputs(c, DType::bf16);
    Context ctx = attention_context(GetParam());
    DeviceAttention attention(ctx, c, in, DType::bf16);
    attention.run(ctx);
    for (const Tensor& x : {attention.forward.o, attention.backward.dq, attention.backward.dk,
                            attention.backward.dv}) {
      for (const double value : values_of(x).data) ASSERT_EQ(value, 0);
    }
  }
}

// The op with a sink: what the kernels give, through autograd.
TEST_P(AttentionGpuOn, DifferentiatesBySinks) {
  const AttentionCase c{.name = "op",
                        .segments = {{40, 40}, {23, 23}},
                        .q_heads = 2,
                        .kv_heads = 2,
                        .causal = true,
                        .alibi = true,
                        .sink = true};
  AttentionInputs in = make_inputs(c, DType::f32);
  in.d_lse.clear();
  Context ctx = attention_context(GetParam());
  constexpr int64_t kTokens = 63, kWidth = 2 * 64;
  Vec qkv(size_t(kTokens * 3 * kWidth));
  for (int i = 0; i < 3; ++i) {
    const Vec& part = i == 0 ? in.q : i == 1 ? in.k : in.v;
    reference::put_columns(qkv, 3 * kWidth, i * kWidth, (i + 1) * kWidth, part);
  }
  const reference::AttentionSpec spec = make_spec(c);
  const Shape shape{kTokens, 3 * kWidth};
  const Var x = make_parameter("qkv", make_tensor(ctx, shape, DType::f32, qkv));
  const Var sink = make_parameter("sink", make_tensor(ctx, {2}, DType::f32, spec.sink));
  const Tensor slopes = make_tensor(ctx, {2}, DType::f32, spec.alibi_slopes);
  const Segments segments{int_tensor(ctx, query_offsets(c)), 40};
  const Var o =
      attention(ctx, x, segments, 2, 2, {.causal = true}, {.alibi_slopes = slopes, .sink = sink});
  backward(ctx, std::span(&o, 1), {make_tensor(ctx, {kTokens, kWidth}, DType::f32, in.d_o)},
           add_into);
  const AttentionAnswer answer = reference_answer(c, in, reference::Precision::exact);
  EXPECT_TRUE(is_close_l2(values_of(leaf_of(sink).grad()),
                          expected({2}, DType::f32, answer.gradients.d_sink), 1e-5));
  Vec d_qkv(qkv.size());
  const auto& [dq, dk, dv, d_sink] = answer.gradients;
  for (int i = 0; i < 3; ++i) {
    const Vec& part = i == 0 ? dq : i == 1 ? dk : dv;
    reference::put_columns(d_qkv, 3 * kWidth, i * kWidth, (i + 1) * kWidth, part);
  }
  EXPECT_TRUE(is_close_l2(values_of(leaf_of(x).grad()), expected(shape, DType::f32, d_qkv), 1e-5));
}

TEST_P(AttentionGpuOn, SaysWhatItDoesNotSupport) {
  Context ctx = context();
  const Segments segments{int_tensor(ctx, std::array{0, 10}), 10};
  const auto args = [&](int64_t D, DType dtype, int64_t gap = 0) {
    const auto heads = [&] {
      return ctx.zeros({10, 2 * D + gap}, dtype).slice(1, 0, 2 * D).unflatten(1, 2, D);
    };
    return AttentionForwardArgs{.q = heads(),
                                .k = heads(),
                                .v = heads(),
                                .query_segments = segments,
                                .key_segments = segments,
                                .o = heads(),
                                .lse = ctx.zeros({2, 10}, DType::f32)};
  };
  const auto error_of = [&](const AttentionForwardArgs& a, const std::string& message) {
    return fails_with([&] { attention_forward(ctx, a); }, message);
  };
  EXPECT_TRUE(error_of(args(12, DType::bf16),
                       "attention: head size 12 in bf16 is not supported on a GPU; use a multiple "
                       "of 8"));
  EXPECT_TRUE(
      error_of(args(264, DType::bf16), "attention: head size 264 is not supported; use 1 to 256"));
  EXPECT_TRUE(error_of(args(16, DType::bf16, 4),
                       "attention: q has strides [36, 16, 1] and begins 0 bytes beyond a multiple "
                       "of 16; in bf16 on a GPU, heads must begin at multiples of 16 bytes"));
  EXPECT_TRUE(error_of(args(16, DType::e4m3),
                       fmt::format("attention: dtype e4m3 is not supported on {}; use bf16, f16, "
                                   "f32 or f64",
                                   name_of(GetParam()))));
  AttentionForwardArgs negative = args(16, DType::bf16);
  negative.options.window_left = -2;
  EXPECT_TRUE(
      error_of(negative, "attention: window (-2, -1); use sizes from 0, or -1 for no limit"));
  AttentionForwardArgs elsewhere = args(16, DType::bf16);
  Context cpu = cpu_context();
  elsewhere.key_segments.offsets = int_tensor(cpu, std::array{0, 10});
  EXPECT_TRUE(
      error_of(elsewhere, fmt::format("attention: the key segments are on cpu, their tokens on {}; "
                                      "make both with one context",
                                      name_of(GetParam()))));
  AttentionForwardArgs sink = args(16, DType::bf16);
  sink.head_terms.sink = ctx.zeros({3}, DType::f32);
  EXPECT_TRUE(error_of(sink, "attention: sink is f32 [3], expected contiguous f32 [2]"));
}

// Decoding: few queries of a long context are cut by their keys, within the memory that was
// planned.
TEST(AttentionSplits, CutLongContextsOfFewQueries) {
  AttentionProblem p{.q_tokens = 1, .k_tokens = 8192, .q_heads = 8, .head_dim = 128, .max_k = 8192};
  EXPECT_EQ(attention_splits(p), 32);
  EXPECT_EQ(attention_gpu_forward_workspace(p), 32u * 8 * 129 * sizeof(float));
  p.max_k = 300;
  EXPECT_EQ(attention_splits(p), 1);
  EXPECT_EQ(attention_gpu_forward_workspace(p), 0u);
  p.q_tokens = p.max_k = 8192;
  EXPECT_EQ(attention_splits(p), 1);
}

}  // namespace
}  // namespace tessera::test
