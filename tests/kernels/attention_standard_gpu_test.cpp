// Standard attention on the GPU devices of the build, against the reference and flash attention.
#include "core/transfer.h"
#include "kernels/attention/standard_gpu.h"
#include "tests/kernels/attention_device.h"
#include "tests/kernels/device_case.h"

namespace tessera::test {
namespace {

std::vector<Device> gpu_devices() {
  std::vector<Device> devices = built_devices();
  std::erase(devices, Device::cpu);
  return devices;
}

class StandardAttentionOn : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, StandardAttentionOn, ::testing::ValuesIn(gpu_devices()),
                         device_name);

struct StandardAttention : DeviceAttention {
  AttentionProblem problem;

  StandardAttention(Context& ctx, const AttentionCase& c, const AttentionInputs& in, DType dtype)
      : DeviceAttention(ctx, c, in, dtype), problem(make_problem(c, dtype)) {
    forward.options.backend = backward.options.backend = AttentionBackend::standard;
    forward.probabilities = ctx.empty({problem.q_heads, problem.q_tokens, problem.max_k}, dtype);
    backward.probabilities = forward.probabilities;
    backward.o = {};
    if (!c.sink) backward.lse = {};
  }
  void run(Context& ctx) const {
    standard_forward_gpu(ctx, forward, problem);
    standard_backward_gpu(ctx, backward, problem);
  }
};

// Odd lengths, groups, windows, documents, softcap, dropout, more queries than keys, no keys,
// ALiBi, sinks.
const AttentionCase kGrid[] = {
    {.name = "d1", .segments = {{5, 7}}, .q_heads = 2, .kv_heads = 2, .head_dim = 1},
    {.name = "gqa_causal",
     .segments = {{31, 67}},
     .q_heads = 4,
     .kv_heads = 2,
     .head_dim = 40,
     .causal = true},
    {.name = "more_queries", .segments = {{45, 17}}, .head_dim = 32, .causal = true},
    {.name = "window",
     .segments = {{61, 61}},
     .q_heads = 2,
     .kv_heads = 1,
     .head_dim = 16,
     .window_left = 9,
     .window_right = 4},
    {.name = "batch_softcap",
     .segments = {{33, 33}, {33, 33}},
     .q_heads = 2,
     .kv_heads = 2,
     .head_dim = 24,
     .causal = true,
     .softcap = 15,
     .q_factor = 4},
    {.name = "softcap_dropout",
     .segments = {{21, 50}},
     .q_heads = 2,
     .kv_heads = 1,
     .head_dim = 16,
     .window_left = 30,
     .softcap = 10,
     .dropout = 0.3},
    {.name = "packed",
     .segments = {{5, 5}, {0, 0}, {37, 37}, {1, 1}, {0, 7}, {9, 0}, {13, 40}},
     .q_heads = 4,
     .kv_heads = 2,
     .head_dim = 32,
     .causal = true,
     .dropout = 0.17,
     .documents = true,
     .tail = 5},
    {.name = "decode", .segments = {{1, 131}}, .q_heads = 2, .kv_heads = 1, .causal = true},
    {.name = "large", .segments = {{17, 17}}, .causal = true, .q_factor = 50, .kv_factor = 30},
    {.name = "alibi_softcap",
     .segments = {{21, 50}, {30, 12}},
     .q_heads = 2,
     .kv_heads = 1,
     .head_dim = 16,
     .softcap = 10,
     .alibi = true},
    {.name = "sink_packed",
     .segments = {{5, 5}, {0, 0}, {37, 37}, {9, 0}, {0, 7}, {13, 40}},
     .q_heads = 4,
     .kv_heads = 2,
     .head_dim = 16,
     .causal = true,
     .dropout = 0.17,
     .documents = true,
     .tail = 5,
     .alibi = true,
     .sink = true},
};

TEST_P(StandardAttentionOn, IsAsGoodAsTheFormula) {
  for (const DType dtype : kComputeTypes) {
    for (const AttentionCase& c : kGrid) {
      SCOPED_TRACE(fmt::format("{} {}", c.name, dtype));
      const AttentionInputs in = make_inputs(c, dtype);
      Context ctx = attention_context(GetParam());
      const StandardAttention attention(ctx, c, in, dtype);
      attention.run(ctx);
      expect_answer(c, in, dtype, attention);
    }
  }
}

// The bounds of the comparison of both on the CPU.
TEST_P(StandardAttentionOn, AgreesWithFlashAttention) {
  for (const AttentionCase& c : kGrid) {
    if (c.kv_factor > 1) continue;  // ill-conditioned
    SCOPED_TRACE(c.name);
    const AttentionInputs in = make_inputs(c, DType::f32);
    Context ctx = attention_context(GetParam());
    DeviceAttention flash(ctx, c, in, DType::f32);
    flash.run(ctx);
    const StandardAttention standard(ctx, c, in, DType::f32);
    standard.run(ctx);
    const auto agrees = [](const Tensor& a, const Tensor& b, double bound) {
      return is_close_l2(values_of(a), values_of(b), bound);
    };
    EXPECT_TRUE(agrees(standard.forward.o, flash.forward.o, 1e-6));
    EXPECT_TRUE(agrees(standard.backward.dq, flash.backward.dq, 2e-6));
    EXPECT_TRUE(agrees(standard.backward.dk, flash.backward.dk, 2e-6));
    EXPECT_TRUE(agrees(standard.backward.dv, flash.backward.dv, 1e-6));
  }
}

TEST_P(StandardAttentionOn, GivesTheSameBitsInEveryRun) {
  const AttentionCase& c = kGrid[6];
  const AttentionInputs in = make_inputs(c, DType::bf16);
  EXPECT_TRUE(is_reproducible(GetParam(), [&](Context& ctx) {
    ctx.set_step(make_problem(c, DType::bf16).step);
    const StandardAttention attention(ctx, c, in, DType::bf16);
    attention.run(ctx);
    // Gaps between rows and what forward leaves out are not results.
    std::vector<Tensor> results;
    for (const Tensor& x :
         {attention.forward.o, attention.backward.dq, attention.backward.dk, attention.backward.dv})
      results.push_back(make_tensor(ctx, x.shape(), x.dtype(), values_of(x).data));
    return results;
  }));
}

// What a forward and backward pass books on `device`, or on `meta` for it.
std::vector<int64_t> booked_bytes(Device device, Device planned, const AttentionCase& c,
                                  DType dtype) {
  Context ctx({.device = device, .planned = planned, .threads = 2});
  StandardAttention attention(ctx, c, make_inputs(c, dtype), dtype);
  ctx.ledger().record_timeline(true);
  attention.run(ctx);
  std::vector<int64_t> bytes;
  for (const Ledger::Event& event : ctx.ledger().timeline()) bytes.push_back(event.bytes);
  return bytes;
}

// A plan knows neither the number of documents nor their lengths.
TEST_P(StandardAttentionOn, TakesThePlannedMemoryForAnyDocuments) {
  const AttentionCase planned{
      .name = "one", .segments = {{30, 30}}, .head_dim = 16, .documents = true, .tail = 20};
  AttentionCase many = planned;
  many.segments = {{10, 10}, {30, 30}, {0, 0}, {10, 10}};
  many.tail = 0;
  for (const DType dtype : kComputeTypes) {
    for (const bool with_terms : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", dtype, with_terms));
      const auto with = [&](AttentionCase c) {
        if (with_terms) c.softcap = 10, c.dropout = 0.1;
        return c;
      };
      const std::vector<int64_t> plan =
          booked_bytes(Device::meta, GetParam(), with(planned), dtype);
      EXPECT_FALSE(plan.empty());
      EXPECT_EQ(booked_bytes(GetParam(), GetParam(), with(many), dtype), plan);
    }
  }
}

// Under a second seed of the emulator, which the race build of this program is for.
TEST_P(StandardAttentionOn, RunsUnderAnotherSchedule) {
  const EmulatorSeed seed(2);
  const AttentionCase& c = kGrid[5];
  for (const DType dtype : kComputeTypes) {
    const AttentionInputs in = make_inputs(c, dtype);
    Context ctx = attention_context(GetParam(), /*threads=*/1);
    const StandardAttention attention(ctx, c, in, dtype);
    EXPECT_NO_THROW(attention.run(ctx));
    expect_answer(c, in, dtype, attention);
  }
}

}  // namespace
}  // namespace tessera::test
