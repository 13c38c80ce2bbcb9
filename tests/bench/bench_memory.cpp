#include <fmt/format.h>

#include "core/transfer.h"
#include "kernels/adamw/kernel.h"
#include "kernels/cross_entropy/kernel.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/embedding/kernel.h"
#include "kernels/rms_norm/kernel.h"
#include "kernels/rope/kernel.h"
#include "kernels/rope/table.h"
#include "kernels/swiglu/kernel.h"
#include "tests/bench/benchmarks.h"

namespace tessera::bench {
namespace {

// A layer of a model of width 4096 on 8192 tokens.
constexpr int64_t kRows = 8192, kWidth = 4096, kFfn = 11008, kHeads = 32, kHeadDim = 128;
constexpr int64_t kVocab = 32000, kLossRows = 2048;

// Every element 1 / 4, so that repeated calls stay finite.
Tensor filled(Context& ctx, const Shape& shape, DType dtype) {
  const Tensor x = ctx.empty(shape, DType::f32);
  upload(x, std::vector<float>(size_t(x.elements()), 0.25f).data());
  if (dtype == DType::f32) return x;
  Tensor narrow = ctx.empty(shape, dtype);
  convert(ctx, narrow, x);
  return narrow;
}

// i32 [count]: 0, step, 2 step, ... modulo `limit`.
Tensor indices(Context& ctx, int64_t count, int64_t step, int64_t limit) {
  std::vector<int32_t> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(int32_t(i * step % limit));
  return int_tensor(ctx, values);
}

// Times one kernel call; its bytes are those of its cost.
class Bench {
 public:
  Bench(Context& ctx, DType dtype, Stopwatch& watch, const Report& report)
      : ctx_(ctx), dtype_(dtype), watch_(watch), report_(report) {}

  template <class Args>
  void time(const char* name, void (*kernel)(Context&, const Args&), const Args& args) {
    const Measurement time = watch_.measure(ctx_, [&] { kernel(ctx_, args); });
    report_.memory_row({.name = fmt::format("{} {}", name, name_of(dtype_)),
                        .dtype = dtype_,
                        .time = time,
                        .bytes = cost(args).bytes},
                       watch_.peaks_with_copy());
  }

 private:
  Context& ctx_;
  DType dtype_;
  Stopwatch& watch_;
  const Report& report_;
};

void bench_norm(Context& ctx, DType dtype, Bench& bench) {
  const Tensor x = filled(ctx, {kRows, kWidth}, dtype), y = filled(ctx, {kRows, kWidth}, dtype);
  const Tensor residual = filled(ctx, {kRows, kWidth}, dtype);
  const Tensor sum = filled(ctx, {kRows, kWidth}, dtype);
  const Tensor weight = filled(ctx, {kWidth}, DType::f32), rstd = filled(ctx, {kRows}, DType::f32);
  const Tensor dweight = filled(ctx, {kWidth}, DType::f32);
  bench.time("add + rms_norm forward", rms_norm_forward,
             RmsNormForwardArgs{.x = x,
                                .residual = residual,
                                .weight = weight,
                                .sum = sum,
                                .y = y,
                                .rstd = rstd,
                                .eps = 1e-5f});
  bench.time("add + rms_norm backward", rms_norm_backward,
             RmsNormBackwardArgs{.x = x,
                                 .weight = weight,
                                 .rstd = rstd,
                                 .dy = y,
                                 .dsum = residual,
                                 .dx = sum,
                                 .y = y,
                                 .dweight = dweight,
                                 .accumulate_dweight = false});
}

void bench_activations(Context& ctx, DType dtype, Bench& bench) {
  const Tensor gate_up = filled(ctx, {kRows, 2 * kFfn}, dtype);
  const Tensor y = filled(ctx, {kRows, kFfn}, dtype);
  const Tensor dgate_up = filled(ctx, {kRows, 2 * kFfn}, dtype);
  bench.time("swiglu forward", swiglu_forward, SwigluForwardArgs{.gate_up = gate_up, .y = y});
  bench.time("swiglu backward", swiglu_backward,
             SwigluBackwardArgs{.gate_up = gate_up, .dy = y, .dgate_up = dgate_up, .y = y});
  const Tensor qkv = filled(ctx, {kRows, 3 * kWidth}, dtype);
  const RopeTable table = rope_table(ctx, {}, kRows, kHeadDim);
  bench.time("rope", rope_rotate,
             RopeArgs{.x = qkv,
                      .y = qkv,
                      .positions = indices(ctx, kRows, 1, kRows),
                      .cos = table.cos,
                      .sin = table.sin,
                      .heads = 2 * kHeads,
                      .head_dim = kHeadDim,
                      .inverse = false});
}

void bench_tokens(Context& ctx, DType dtype, Bench& bench) {
  const Tensor tokens = indices(ctx, kRows, 7919, kVocab);
  const Tensor table = filled(ctx, {kVocab, kWidth}, dtype);
  const Tensor y = filled(ctx, {kRows, kWidth}, dtype);
  const Tensor dtable = filled(ctx, {kVocab, kWidth}, DType::f32);
  bench.time("embedding forward", embedding_forward,
             EmbeddingForwardArgs{.tokens = tokens, .table = table, .y = y});
  bench.time(
      "embedding backward", embedding_backward,
      EmbeddingBackwardArgs{.tokens = tokens, .dy = y, .dtable = dtable, .accumulate = true});
  const Tensor logits = filled(ctx, {kLossRows, kVocab}, dtype);
  bench.time("cross_entropy with gradient", cross_entropy_rows,
             CrossEntropyArgs{.logits = logits,
                              .targets = indices(ctx, kLossRows, 7919, kVocab),
                              .losses = filled(ctx, {kLossRows}, DType::f32),
                              .dlogits = filled(ctx, {kLossRows, kVocab}, dtype)});
}

void bench_optimizer(Context& ctx, DType dtype, Bench& bench) {
  const Shape shape{kFfn, kWidth};
  const AdamWTensor tensor{.param = filled(ctx, shape, DType::f32),
                           .low = dtype == DType::bf16 ? filled(ctx, shape, dtype) : Tensor(),
                           .grad = filled(ctx, shape, DType::f32),
                           .m = filled(ctx, shape, DType::f32),
                           .v = filled(ctx, shape, DType::f32)};
  bench.time("adamw", adamw_step, AdamWArgs{.tensors = std::span(&tensor, 1)});
}

}  // namespace

void bench_memory(const Settings& settings, Stopwatch& watch, const Report& report) {
  report.memory_heading(watch.peaks_with_copy(),
                        "kernels that move data; bytes as if every operand moved once");
  for (const DType dtype : settings.dtypes) {
    for (const auto part : {bench_norm, bench_activations, bench_tokens, bench_optimizer}) {
      Context ctx(settings.context);
      Bench bench(ctx, dtype, watch, report);
      part(ctx, dtype, bench);
    }
  }
}

}  // namespace tessera::bench
