// The attention kernels on instrumented objects, where the emulator fails at a race: every kernel
// of every way of cutting the work, and a sample of the grid, under two seeds.
#include "kernels/attention/gpu.h"
#include "kernels/launch/simt/emulator.h"
#include "tests/kernels/attention_device.h"
#include "tests/kernels/attention_sample.h"
#include "tests/kernels/device_case.h"

namespace tessera::test {
namespace {

void expect_no_race(const AttentionCase& c, DType dtype, bool deterministic = true) {
  const AttentionInputs in = make_inputs(c, dtype);
  for (const int seed : {1, 2}) {
    SCOPED_TRACE(fmt::format("{} {} seed {}", c.name, dtype, seed));
    const EmulatorSeed scope(seed);
    Context ctx = attention_context(Device::simt, /*threads=*/1);
    DeviceAttention attention(ctx, c, in, dtype);
    attention.backward.options.deterministic = deterministic;
    EXPECT_NO_THROW(attention.run(ctx));
    expect_answer(c, in, dtype, attention);
  }
}

AttentionCase walk_of(int head_dim, double dropout = 0) {
  return {.name = fmt::format("d{}", head_dim),
          .segments = {{140, 150}},
          .head_dim = head_dim,
          .causal = true,
          .dropout = dropout};
}

TEST(AttentionRace, PlainOf64) {
  expect_no_race(walk_of(64), DType::bf16);
}
TEST(AttentionRace, PlainOf128) {
  expect_no_race(walk_of(128), DType::bf16);
}
TEST(AttentionRace, OnePassOf64) {
  expect_no_race(walk_of(64), DType::bf16, false);
}
TEST(AttentionRace, OnePassOf128) {
  expect_no_race(walk_of(128), DType::bf16, false);
}
TEST(AttentionRace, WithExtrasOf64) {
  expect_no_race(walk_of(64, 0.1), DType::bf16);
}
TEST(AttentionRace, WithExtrasOf128) {
  expect_no_race(walk_of(128, 0.1), DType::f16);
}
TEST(AttentionRace, Of256) {
  expect_no_race(walk_of(256), DType::bf16);
}
// The shapes for less shared memory, and what sm_75 runs for cp.async and mma.m16n8k16.
TEST(AttentionRace, OfSm75) {
  const EmulatorOptions turing("architecture=75");
  for (const int head_dim : {64, 128, 256}) expect_no_race(walk_of(head_dim), DType::f16);
}
TEST(AttentionRace, OfSm86) {
  const EmulatorOptions ampere("architecture=86");
  for (const int head_dim : {128, 256}) expect_no_race(walk_of(head_dim), DType::bf16);
}
TEST(AttentionRace, OfF32) {
  expect_no_race(walk_of(40), DType::f32);
}
TEST(AttentionRace, OfF64) {
  expect_no_race({.name = "f64", .segments = {{20, 33}}, .head_dim = 5, .causal = true},
                 DType::f64);
}
TEST(AttentionRace, OfSplitKeysAndASink) {
  expect_no_race({.name = "split", .segments = {{2, 600}}, .q_heads = 2, .sink = true},
                 DType::bf16);
}
TEST(AttentionRace, OfGroupsAndDocuments) {
  expect_no_race({.name = "documents",
                  .segments = {{30, 30}, {0, 0}, {70, 70}},
                  .q_heads = 2,
                  .causal = true,
                  .documents = true},
                 DType::bf16);
}

// 16-bit ones are the kernels that people run: 66 points, 53 of them in bf16 or f16. Where dq can
// be summed by atomics both kinds of backward run.
class AttentionGridRace : public ::testing::TestWithParam<AttentionPoint> {};

TEST_P(AttentionGridRace, HasNone) {
  const auto& [c, dtype] = GetParam();
  expect_no_race(c, dtype);
  AttentionProblem p = make_problem(c, dtype);
  p.deterministic = false;
  if (adds_dq(p) && !c.alibi && !c.sink) expect_no_race(c, dtype, false);
}

INSTANTIATE_TEST_SUITE_P(Sample, AttentionGridRace,
                         ::testing::ValuesIn(sample_of_grid(2, 66, AttentionLengths::few)),
                         [](const auto& test) { return test.param.problem.name; });

// The swizzle of the tiles is there for this. Instrumented kernels count ordinary loads and stores,
// too.
TEST(AttentionRace, BanksHaveNoConflicts) {
  for (const int head_dim : {64, 128, 256}) {
    const AttentionCase c = walk_of(head_dim);
    Context ctx = attention_context(Device::simt, /*threads=*/1);
    auto& emulator = ctx.state<simt::Emulator>();
    emulator.options().bank = true;
    DeviceAttention attention(ctx, c, make_inputs(c, DType::bf16), DType::bf16);
    attention.run(ctx);
    attention.backward.options.deterministic = false;
    attention_backward(ctx, attention.backward);
    const auto conflicts = emulator.bank_conflicts();
    EXPECT_GT(conflicts.size(), 4u);
    for (const auto& [site, count] : conflicts) {
      EXPECT_EQ(count.cycles, count.ideal_cycles) << site << " at D = " << head_dim;
    }
  }
}

}  // namespace
}  // namespace tessera::test
