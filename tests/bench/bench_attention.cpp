#include <fmt/format.h>

#include <array>

#include "core/autograd/engine.h"
#include "core/transfer.h"
#include "kernels/attention/op.h"
#include "kernels/elementwise/kernel.h"
#include "tests/bench/benchmarks.h"

namespace tessera::bench {
namespace {

// Standard normal values.
Tensor random_tensor(Context& ctx, const Shape& shape, DType dtype, std::string_view name) {
  const Tensor wide = ctx.empty(shape, DType::f32);
  const Philox random(1, purpose_id(name), 0);
  std::vector<float> values(size_t(wide.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(random.normal(i));
  upload(wide, values.data());
  if (dtype == DType::f32) return wide;
  Tensor narrow = ctx.empty(shape, dtype);
  convert(ctx, narrow, wide);
  return narrow;
}

Segments one_segment(Context& ctx, int64_t length) {
  return {int_tensor(ctx, std::array{0, int32_t(length)}), length};
}

struct Case {
  std::string backend;
  DType dtype;
  int64_t length, head_dim;
  bool causal;
};

void bench_one(const Settings& settings, const AttentionSettings& attention_settings, const Case& c,
               Stopwatch& watch, const Report& report) {
  Context ctx(settings.context);
  const int64_t heads = attention_settings.heads, kv_heads = attention_settings.kv_heads;
  const Shape shape{c.length, (heads + 2 * kv_heads) * c.head_dim};
  const Tensor values = random_tensor(ctx, shape, c.dtype, "qkv");
  const Tensor upstream = random_tensor(ctx, {c.length, heads * c.head_dim}, c.dtype, "upstream");
  const Segments segments = one_segment(ctx, c.length);
  AttentionOptions options;
  options.backend = c.backend == "flash" ? AttentionBackend::flash : AttentionBackend::standard;
  options.causal = c.causal;

  const double flops =
      4.0 * double(heads * c.length * c.length * c.head_dim) * (c.causal ? 0.5 : 1);
  const std::string what = fmt::format("{} {} S {} D {} {}", c.backend, name_of(c.dtype), c.length,
                                       c.head_dim, c.causal ? "causal" : "full");
  const auto forward = [&] {
    const GradMode off(ctx, false);
    attention(ctx, Var(values), segments, heads, kv_heads, options);
  };
  const Measurement forward_time = watch.measure(ctx, forward);
  report.row({what + " forward", c.dtype, flops, forward_time}, watch.peaks());

  // Backward is the rest of forward + backward. The variable is a segment input, so that its
  // gradient has its dtype.
  const auto both = [&] {
    auto leaf = std::make_shared<LeafNode>("qkv", shape, c.dtype, MemoryTag::activations);
    const Var qkv(values, Edge{leaf, 0});
    const Var out = attention(ctx, qkv, segments, heads, kv_heads, options);
    backward(ctx, std::span(&out, 1), {upstream}, add_into);
  };
  Measurement time = watch.measure(ctx, both);
  time.seconds -= forward_time.seconds;
  time.fastest -= forward_time.seconds;
  time.slowest -= forward_time.seconds;
  report.row({what + " backward", c.dtype, 2.5 * flops, time}, watch.peaks(),
             {{"ledger_peak_mib", double(ctx.ledger().peak()) / 1048576.0}});
}

}  // namespace

void bench_attention(const Settings& settings, const AttentionSettings& attention_settings,
                     Stopwatch& watch, const Report& report) {
  report.heading(watch.peaks(),
                 "attention; FLOPs: 4 heads S^2 D forward, 2.5 times that backward, causal half");
  for (const int64_t head_dim : attention_settings.head_dims) {
    for (const int64_t length : attention_settings.lengths) {
      for (const bool causal : {false, true}) {
        for (const DType dtype : settings.dtypes) {
          for (const std::string& backend : attention_settings.backends) {
            bench_one(settings, attention_settings, {backend, dtype, length, head_dim, causal},
                      watch, report);
          }
        }
      }
    }
  }
}

}  // namespace tessera::bench
