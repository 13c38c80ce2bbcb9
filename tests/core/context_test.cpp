#include "core/context.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace tessera {
namespace {

TEST(Context, ZerosAreZeroInReusedMemory) {
  Context ctx({.poison = true});
  { const Tensor dirty = ctx.empty({64}, DType::f32); }
  const Tensor zeros = ctx.zeros({64}, DType::f32);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(zeros.data<float>()[i], 0);
}

TEST(Context, PoisonMakesUnwrittenMemoryNan) {
  Context ctx({.poison = true});
  EXPECT_TRUE(std::isnan(*ctx.empty({3}, DType::f32).data<float>()));
  EXPECT_TRUE(std::isnan(*ctx.empty({3}, DType::f64).data<double>()));
  EXPECT_TRUE(std::isnan(to_float(*ctx.empty({3}, DType::bf16).data<bf16>())));
}

TEST(Context, WorkspaceIsAlignedAndTagged) {
  Context ctx({});
  const Tensor odd = ctx.workspace(1), next = ctx.workspace(100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(next.raw()) % 64, 0u);
  EXPECT_EQ(ctx.ledger().current(MemoryTag::workspace), 64 + 128);
}

// Terabytes cost nothing on meta, and are booked as on a real device.
TEST(Context, MetaAccountsWithoutMemory) {
  Context ctx({.device = Device::meta});
  const Tensor x = ctx.zeros({1 << 20, 1 << 20}, DType::f32, MemoryTag::parameters);
  EXPECT_EQ(x.device(), Device::meta);
  EXPECT_EQ(ctx.scalar(1).elements(), 1);
  EXPECT_EQ(ctx.ledger().current(MemoryTag::parameters), int64_t{1} << 42);
}

TEST(Context, SizesBeyondAllMemoryAreErrorsEvenOnMeta) {
  constexpr int64_t kGi = int64_t{1} << 30;
  Context ctx({.device = Device::meta});
  EXPECT_THROW(ctx.empty({kGi, kGi, 8}, DType::f32), Error) << "2^65 bytes";
  EXPECT_THROW(ctx.empty({kGi, kGi, 2}, DType::f32), Error) << "2^63 bytes";
  EXPECT_THROW(ctx.empty({kGi, kGi, 1}, DType::f32), OutOfMemory) << "2^62 bytes";
  const Tensor half = ctx.empty({kGi, kGi / 2}, DType::f32);
  EXPECT_THROW(ctx.empty({kGi, kGi / 2}, DType::f32), OutOfMemory) << "2^62 bytes in all";
  EXPECT_EQ(ctx.ledger().peak(), int64_t{1} << 61);
}

TEST(Context, ScopesNest) {
  Context ctx({});
  const NameScope layer(ctx, "layers.3");
  {
    const NameScope attention(ctx, "attention");
    EXPECT_EQ(ctx.scope(), "layers.3.attention");
    const FullScope other(ctx, "loss");
    EXPECT_EQ(ctx.scope(), "loss");
  }
  EXPECT_EQ(ctx.scope(), "layers.3");
}

TEST(Context, GradModeIsRestored) {
  Context ctx({});
  {
    const GradMode off(ctx, false);
    const GradMode on(ctx, true);
    EXPECT_TRUE(ctx.grad_enabled());
  }
  EXPECT_TRUE(ctx.grad_enabled());
}

TEST(Context, KeepsOneStateOfEveryType) {
  struct Counter {
    int calls = 0;
  };
  Context ctx({}), other({});
  ++ctx.state<Counter>().calls;
  ++ctx.state<Counter>().calls;
  EXPECT_EQ(ctx.state<Counter>().calls, 2);
  EXPECT_EQ(other.state<Counter>().calls, 0);
}

TEST(Context, KernelScopesReportNameCostAndEnd) {
  struct Recorder : KernelLog {
    void begin(std::string_view scope, std::string_view kernel, const KernelCost& cost) override {
      text += fmt::format("{}/{} {} {};", scope, kernel, cost.flops, cost.bytes);
    }
    void end() override { text += "end;"; }
    std::string text;
  };
  Context ctx({});
  Recorder recorder;
  ctx.set_kernel_log(&recorder);
  const NameScope scope(ctx, "mlp");
  { const KernelScope kernel(ctx, "linear", {.flops = 8, .bytes = 3}); }
  EXPECT_EQ(recorder.text, "mlp/linear 8 3;end;");
}

TEST(Context, RefusesZeroThreads) {
  EXPECT_THROW(Context({.threads = 0}), Error);
}

}  // namespace
}  // namespace tessera
