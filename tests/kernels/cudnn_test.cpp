// Attention by cuDNN: the loader, what is refused, the graphs as far as a machine without a GPU can
// tell, and on one with, the answers.
#include <dlfcn.h>

#include "kernels/attention/cudnn.h"
#include "tests/kernels/attention_device.h"
#include "tests/kernels/cudnn_interpreter.h"
#include "tests/kernels/op_case.h"

namespace tessera::test {
namespace {

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(CudnnLoader, TellsWhereToFindTheLibrary) {
  const std::string error = error_of([] { load_cudnn("libcudnn_that_is_not.so.9"); });
  EXPECT_NE(error.find("attention: no cuDNN (libcudnn_that_is_not.so.9: cannot open"),
            std::string::npos)
      << error;
  EXPECT_NE(error.find("LD_LIBRARY_PATH"), std::string::npos) << error;
}

TEST(CudnnLoader, RefusesOtherLibrariesAndOldVersions) {
  EXPECT_EQ(error_of([] { load_cudnn("libm.so.6"); }),
            "attention: libm.so.6 has no cudnnGetVersion; is it cuDNN 9?");
  const std::string error = error_of([] { load_cudnn(TESSERA_OLD_CUDNN); });
  EXPECT_NE(error.find("is cuDNN 9.1.2, older than 9.15.1; install a newer one"), std::string::npos)
      << error;
}

// What the arguments of a call, made on `meta` for cuda or on another device, are refused with.
struct Refusal {
  const char* name;
  std::function<void(DeviceAttention&)> change;
  const char* error;
  AttentionCase problem = {.segments = {{32, 32}, {32, 32}}, .q_heads = 2};
  DType dtype = DType::bf16;
  ContextOptions context = {.device = Device::meta, .planned = Device::cuda};

  friend void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }
};

const auto kNoChange = [](DeviceAttention&) {};

const Refusal kRefusals[] = {
    {.name = "cpu",
     .change = kNoChange,
     .error = "attention: backend cudnn runs on cuda, not on cpu; use flash or standard there",
     .context = {.device = Device::cpu}},
    {.name = "f32",
     .change = kNoChange,
     .error = "attention: backend cudnn has no f32; use bf16 or f16, or backend flash",
     .dtype = DType::f32},
    {.name = "window",
     .change = [](DeviceAttention& x) { x.forward.options.window_left = 7; },
     .error = "attention: backend cudnn is not asked for windows, here (7, -1); use flash"},
    {.name = "softcap",
     .change = [](DeviceAttention& x) { x.forward.options.softcap = 30; },
     .error = "attention: backend cudnn is not asked for softcap 30 or dropout 0; use flash"},
    {.name = "sink",
     .change = kNoChange,
     .error = "attention: backend cudnn is not asked for ALiBi slopes or a sink; use flash",
     .problem = {.segments = {{32, 32}}, .sink = true}},
    {.name = "documents",
     .change = kNoChange,
     .error =
         "attention: backend cudnn needs segments of one length, here 2 of up to 32 queries and 32 "
         "keys in 40 and 40 tokens; use flash for packed documents",
     .problem = {.segments = {{32, 32}, {8, 8}}, .documents = true}},
    {.name = "more_queries",
     .change = kNoChange,
     .error =
         "attention: backend cudnn masks causally where queries are no more than keys, here 40 "
         "and 32; use flash",
     .problem = {.segments = {{40, 32}}, .causal = true}},
    {.name = "no_keys",
     .change = kNoChange,
     .error = "attention: backend cudnn needs queries and keys, here 8 and 0; use flash",
     .problem = {.segments = {{8, 0}}}},
};

class CudnnRefusal : public testing::TestWithParam<Refusal> {};
INSTANTIATE_TEST_SUITE_P(, CudnnRefusal, testing::ValuesIn(kRefusals),
                         [](const auto& named) { return named.param.name; });

TEST_P(CudnnRefusal, NamesTheRuleAndTheRemedy) {
  const Refusal& refusal = GetParam();
  Context ctx(refusal.context);
  DeviceAttention attention(ctx, refusal.problem, {}, refusal.dtype);
  attention.forward.options.backend = AttentionBackend::cudnn;
  refusal.change(attention);
  EXPECT_EQ(error_of([&] { attention_forward(ctx, attention.forward); }), refusal.error);
  attention.backward.options = attention.forward.options;
  EXPECT_EQ(error_of([&] { attention_backward(ctx, attention.backward); }), refusal.error);
}

TEST(CudnnAttention, RefusesGradientsOfLse) {
  Context ctx({.device = Device::meta, .planned = Device::cuda});
  DeviceAttention attention(ctx, {.segments = {{32, 32}}}, {}, DType::bf16);
  attention.backward.options.backend = AttentionBackend::cudnn;
  EXPECT_EQ(error_of([&] { attention_backward(ctx, attention.backward); }),
            "attention: backend cudnn is not asked for gradients through lse; use flash");
}

// The row sums, the packed lse and the f32 sums of dq are planned; cuDNN's own scratch is not.
TEST(CudnnAttention, PlansItsOwnWorkspace) {
  const AttentionCase c{.segments = {{32, 48}, {32, 48}}, .q_heads = 4, .kv_heads = 2};
  for (const bool deterministic : {true, false}) {
    Context ctx({.device = Device::meta, .planned = Device::cuda});
    DeviceAttention attention(ctx, c, {}, DType::bf16);
    attention.backward.options.backend = AttentionBackend::cudnn;
    attention.backward.options.deterministic = deterministic;
    attention.backward.d_lse = {};
    attention_backward(ctx, attention.backward);
    EXPECT_EQ(ctx.ledger().peak_by_tag()[size_t(MemoryTag::workspace)],
              64 * 4 * 4 * (deterministic ? 2 : 2 + 64));
  }
}

// An H200 as cuDNN describes devices.
constexpr const char* kH200 =
    R"({"deviceVer":900,"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],
"regsPerBlock":65536,"multiProcessorCount":132,"smCountOrigin":0,"warpSize":32,
"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":232448,
"oversizedSharedMemoryPerBlock":0,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,
"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,
"isTccDriver":0,"supportCoopLaunch":1,"smClockRateKHz":1980000,"memClockRateKHz":3201000,
"memoryBusWidth":6144,"l2CacheSize":62914560,"deviceName":"NVIDIA H200","cudaDeviceId":0,
"driverVer":13000,"totalGlobalMem":150000000000})";

// cuDNN's functions, or null with the reason for skipping in `why`. Its engines want libcuda, for
// which the toolkit's file to link with will do here.
const CudnnApi* api_or_reason(std::string& why) {
  bool has_driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL);
#ifdef TESSERA_LIBCUDA
  has_driver = has_driver || dlopen(TESSERA_LIBCUDA, RTLD_LAZY | RTLD_GLOBAL);
#endif
  why = "no libcuda.so.1, nor the toolkit's file to link with";
  if (!has_driver) return nullptr;
  try {
    return &cudnn_api();
  } catch (const Error& error) {
    why = error.what();
    return nullptr;
  }
}

CudnnShape::Strides packed(int64_t heads, int64_t head_dim) {
  return {heads * head_dim, head_dim};
}

// Queries, keys and values side by side in one tensor, as the model has them.
CudnnShape shape_of(int64_t head_dim, int64_t kv_heads, int64_t keys, bool causal) {
  constexpr int64_t kHeads = 8;
  const CudnnShape::Strides qkv{(kHeads + 2 * kv_heads) * head_dim, head_dim},
      o = packed(kHeads, head_dim);
  return {.batch = 2,
          .q_heads = kHeads,
          .kv_heads = kv_heads,
          .queries = 1024,
          .keys = keys,
          .head_dim = head_dim,
          .causal = causal,
          .q = qkv,
          .k = qkv,
          .v = qkv,
          .o = o,
          .d_o = o,
          .dq = qkv,
          .dk = qkv,
          .dv = qkv};
}

TEST(CudnnGraph, EnginesForHopperTakeEveryShape) {
  std::string why;
  const CudnnApi* const api = api_or_reason(why);
  if (!api) GTEST_SKIP() << why;
  const CudnnDescriptor h200 = cudnn_device(*api, kH200);
  const auto expect_engines = [&](const CudnnShape& shape) {
    EXPECT_FALSE(cudnn_attention_graph(*api, shape).engines({.device = &h200}).empty())
        << shape.text() << (shape.deterministic ? ", deterministic" : "");
  };
  for (const int64_t head_dim : {64, 128, 256}) {
    for (const bool causal : {false, true}) {
      for (const auto& [kv_heads, keys] : {std::pair{8, 1024}, {2, 1024}, {8, 2048}}) {
        CudnnShape shape = shape_of(head_dim, kv_heads, keys, causal);
        expect_engines(shape);
        shape.backward = true;
        expect_engines(shape);
        shape.deterministic = true;
        shape.dtype = DType::f16;
        expect_engines(shape);
      }
    }
  }
}

TEST(CudnnGraph, HasNoEngineForOddHeads) {
  std::string why;
  const CudnnApi* const api = api_or_reason(why);
  if (!api) GTEST_SKIP() << why;
  const CudnnDescriptor h200 = cudnn_device(*api, kH200);
  EXPECT_TRUE(
      cudnn_attention_graph(*api, shape_of(60, 8, 1024, true)).engines({.device = &h200}).empty());
}

const AttentionCase kGrid[] = {
    {.name = "full", .segments = {{256, 256}}, .q_heads = 2, .kv_heads = 2, .head_dim = 64},
    {.name = "causal_batch",
     .segments = {{192, 192}, {192, 192}},
     .q_heads = 4,
     .kv_heads = 4,
     .head_dim = 128,
     .causal = true},
    {.name = "gqa_odd",
     .segments = {{131, 203}, {131, 203}},
     .q_heads = 4,
     .kv_heads = 2,
     .head_dim = 128},
    {.name = "bottom_right",
     .segments = {{100, 256}},
     .q_heads = 4,
     .kv_heads = 1,
     .head_dim = 64,
     .causal = true},
    {.name = "d256",
     .segments = {{160, 160}},
     .q_heads = 2,
     .kv_heads = 2,
     .head_dim = 256,
     .causal = true},
};

// The graphs' own arithmetic, apart from roundings: our tensors, strides, numbers and workspaces
// through an interpreter of cuDNN's operations.
TEST(CudnnAttention, GraphsComputeAttention) {
  const AttentionCase cases[] = {
      {.segments = {{5, 5}, {5, 5}}, .q_heads = 2, .kv_heads = 2, .head_dim = 8},
      {.segments = {{7, 7}, {7, 7}}, .q_heads = 4, .kv_heads = 2, .head_dim = 8, .causal = true},
      {.segments = {{3, 9}, {3, 9}}, .q_heads = 2, .kv_heads = 1, .head_dim = 16, .causal = true},
  };
  for (const AttentionCase& c : cases) {
    for (const bool deterministic : {false, true}) {
      SCOPED_TRACE(fmt::format("{} causal {}", c.segments[0].second, c.causal));
      AttentionInputs in = make_inputs(c, DType::bf16);
      std::fill(in.d_lse.begin(), in.d_lse.end(), 0);
      Context ctx = attention_context(Device::cpu);
      ctx.state<CudnnFunctions>().api = &interpreted_cudnn();
      DeviceAttention attention(ctx, c, in, DType::bf16);
      AttentionProblem problem = make_problem(c, DType::bf16);
      problem.deterministic = deterministic;
      cudnn_forward(ctx, attention.forward, problem);
      cudnn_backward(ctx, attention.backward, problem);
      expect_answer(c, in, DType::bf16, attention);
    }
  }
}

class CudnnAttentionOn : public DeviceTest {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CudnnAttentionOn);
#ifdef TESSERA_WITH_CUDA
INSTANTIATE_TEST_SUITE_P(Devices, CudnnAttentionOn, testing::Values(Device::cuda), device_name);
#endif

TEST_P(CudnnAttentionOn, IsAsGoodAsTheFormula) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const AttentionCase& c : kGrid) {
      for (const bool deterministic : {false, true}) {
        SCOPED_TRACE(fmt::format("{} {} {}", c.name, dtype, deterministic));
        AttentionInputs in = make_inputs(c, dtype);
        std::fill(in.d_lse.begin(), in.d_lse.end(), 0);
        Context ctx = attention_context(GetParam());
        DeviceAttention attention(ctx, c, in, dtype);
        attention.forward.options.backend = AttentionBackend::cudnn;
        attention.forward.options.deterministic = deterministic;
        attention.backward.options = attention.forward.options;
        attention.backward.d_lse = {};
        attention.run(ctx);
        expect_answer(c, in, dtype, attention);
      }
    }
  }
}

}  // namespace
}  // namespace tessera::test
