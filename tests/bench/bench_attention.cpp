#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "core/autograd/engine.h"
#include "core/transfer.h"
#include "kernels/attention/op.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/launch/device_peak.h"
#include "tests/bench/benchmarks.h"

namespace tessera::bench {
namespace {

struct Case {
  DType dtype;
  int64_t length, head_dim, heads, kv_heads, batch;
  bool causal;

  int64_t tokens() const { return batch * length; }
  double forward_flops() const {
    return 4.0 * double(heads * tokens() * length * head_dim) * (causal ? 0.5 : 1);
  }
  std::string text() const {
    return fmt::format("{} S {} D {} {}", name_of(dtype), length, head_dim,
                       causal ? "causal" : "full");
  }
};

// Standard normal values, of which the first 2^20 - 3 repeat: nobody waits for a billion of them.
Tensor random_tensor(Context& ctx, const Shape& shape, DType dtype, std::string_view name) {
  constexpr size_t kPeriod = (1 << 20) - 3;
  const Tensor wide = ctx.empty(shape, DType::f32);
  if (ctx.is_meta()) return dtype == DType::f32 ? wide : ctx.empty(shape, dtype);
  const Philox random(1, purpose_id(name), 0);
  std::vector<float> values(size_t(wide.elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = i < kPeriod ? float(random.normal(i)) : values[i - kPeriod];
  }
  if (dtype == DType::f16) {
    const Tensor half = ctx.empty(shape, dtype);
    std::vector<f16> rounded(values.size());
    std::ranges::transform(values, rounded.begin(), [](float x) { return from_float<f16>(x); });
    upload(half, rounded.data());
    return half;
  }
  upload(wide, values.data());
  if (dtype == DType::f32) return wide;
  Tensor narrow = ctx.empty(shape, dtype);
  convert(ctx, narrow, wide);
  return narrow;
}

Segments equal_segments(Context& ctx, const Case& c) {
  std::vector<int32_t> offsets;
  for (int64_t b = 0; b <= c.batch; ++b) offsets.push_back(int32_t(b * c.length));
  return {int_tensor(ctx, offsets), c.length};
}

AttentionOptions options_of(const std::string& backend, const Case& c) {
  AttentionOptions options;
  options.causal = c.causal;
  options.deterministic = backend == "flash";
  if (backend == "standard") options.backend = AttentionBackend::standard;
  if (backend == "cudnn") options.backend = AttentionBackend::cudnn;
  return options;
}

// Attention of one case on one context, with its inputs.
class Subject {
 public:
  Subject(Context& ctx, const Case& c, const std::string& backend)
      : ctx_(ctx),
        case_(c),
        options_(options_of(backend, c)),
        shape_{c.tokens(), (c.heads + 2 * c.kv_heads) * c.head_dim},
        qkv_(random_tensor(ctx, shape_, c.dtype, "qkv")),
        upstream_(random_tensor(ctx, {c.tokens(), c.heads * c.head_dim}, c.dtype, "upstream")),
        segments_(equal_segments(ctx, c)) {
    ctx.ledger().reset_peak();
    inputs_ = ctx.ledger().current();
  }

  void forward() {
    const GradMode off(ctx_, false);
    attention(ctx_, Var(qkv_), segments_, case_.heads, case_.kv_heads, options_);
  }
  // The variable is a segment input, so that its gradient has its dtype.
  void forward_and_backward() {
    auto leaf = std::make_shared<LeafNode>("qkv", shape_, case_.dtype, MemoryTag::activations);
    const Var qkv(qkv_, Edge{leaf, 0});
    const Var out = attention(ctx_, qkv, segments_, case_.heads, case_.kv_heads, options_);
    backward(ctx_, std::span(&out, 1), {upstream_}, add_into);
  }
  // Of what came after the inputs: outputs, what is kept for backward, gradients, workspaces.
  int64_t peak_bytes() const { return ctx_.ledger().peak() - inputs_; }

 private:
  Context& ctx_;
  const Case& case_;
  AttentionOptions options_;
  Shape shape_;
  Tensor qkv_, upstream_;
  Segments segments_;
  int64_t inputs_ = 0;
};

struct Result {
  double forward = 0, both = 0;  // seconds
  double bytes = 0;              // of attention at its peak
};

// Bytes that the case will take with its inputs, from a dry run on `meta`.
int64_t planned_bytes(const Settings& settings, const Case& c, const std::string& backend) {
  ContextOptions options = settings.context;
  options.planned = std::exchange(options.device, Device::meta);
  Context ctx(options);
  Subject subject(ctx, c, backend);
  subject.forward_and_backward();
  return ctx.ledger().peak();
}

Measurement difference(Measurement both, const Measurement& forward) {
  both.seconds -= forward.seconds;
  both.fastest -= forward.seconds;
  both.slowest -= forward.seconds;
  return both;
}

Result measure(const Settings& settings, const Case& c, const std::string& backend,
               Stopwatch& watch, const Report& report) {
  const int64_t planned = planned_bytes(settings, c, backend);
  Context ctx(settings.context);
  const double room = device_memory_bytes(ctx.device());
  check(double(planned) < 0.9 * room, "it takes {} MiB, of {} here", planned >> 20,
        int64_t(room) >> 20);
  Subject subject(ctx, c, backend);
  const std::string what = backend + " " + c.text();
  const Measurement forward = watch.measure(ctx, [&] { subject.forward(); });
  report.row({what + " forward", c.dtype, c.forward_flops(), forward}, watch.peaks());
  const Measurement both = watch.measure(ctx, [&] { subject.forward_and_backward(); });
  const double bytes = double(subject.peak_bytes());
  report.row({what + " backward", c.dtype, 2.5 * c.forward_flops(), difference(both, forward)},
             watch.peaks(),
             {{"attention_peak_mib", bytes / 1048576.0},
              {"ledger_peak_mib", double(ctx.ledger().peak()) / 1048576.0}});
  return {.forward = forward.seconds, .both = both.seconds, .bytes = bytes};
}

using Results = std::map<std::string, Result>;

Results measure_backends(const Settings& settings, const AttentionSettings& attention,
                         const Case& c, Stopwatch& watch, const Report& report) {
  Results results;
  for (const std::string& backend : attention.backends) {
    try {
      results[backend] = measure(settings, c, backend, watch, report);
    } catch (const Error& error) {
      report.skipped(backend + " " + c.text(), error.what());
    }
  }
  return results;
}

std::string cell(std::optional<double> value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "-";
}

// Flash in proportion to the others, one row a case.
class Comparison {
 public:
  void add(const Case& c, const Results& results) {
    if (results.count("flash") && results.size() > 1) rows_.emplace_back(c, results);
  }

  void print(const Report& report) const {
    if (rows_.empty()) return;
    if (!report.json()) {
      fmt::print(
          "\nforward + backward; times: how many times as long as flash takes, memory: how "
          "many times its bytes\n{:<32} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
          "", "flash ms", "flash MiB", "standard:", "memory", "atomics:", "cudnn:");
    }
    for (const auto& [c, results] : rows_) print_row(report, c, results);
  }

 private:
  static void print_row(const Report& report, const Case& c, const Results& results) {
    const Result& flash = results.at("flash");
    const auto of = [&](const char* backend, double Result::*member) -> std::optional<double> {
      const auto found = results.find(backend);
      if (found == results.end()) return {};
      return found->second.*member / (flash.*member);
    };
    const auto standard = of("standard", &Result::both), memory = of("standard", &Result::bytes),
               atomics = of("flash-atomics", &Result::both), cudnn = of("cudnn", &Result::both);
    if (!report.json()) {
      fmt::print("{:<32} {:>10.3f} {:>10.1f} {:>10} {:>10} {:>10} {:>10}\n", c.text(),
                 flash.both * 1e3, flash.bytes / 1048576.0, cell(standard, 2), cell(memory, 1),
                 cell(atomics, 2), cell(cudnn, 2));
      return;
    }
    nlohmann::ordered_json record = {{"name", "comparison " + c.text()},
                                     {"flash_ms", flash.both * 1e3},
                                     {"flash_attention_peak_mib", flash.bytes / 1048576.0}};
    if (standard) record["standard_time_over_flash"] = *standard;
    if (memory) record["standard_memory_over_flash"] = *memory;
    if (atomics) record["flash_atomics_time_over_flash"] = *atomics;
    if (cudnn) record["cudnn_time_over_flash"] = *cudnn;
    fmt::print("{}\n", record.dump());
  }

  std::vector<std::pair<Case, Results>> rows_;
};

}  // namespace

AttentionSettings completed(AttentionSettings s, Device device) {
  const bool gpu = device == Device::cuda;
  const auto fill = [](auto& values, auto otherwise) {
    if (values.empty()) values = std::move(otherwise);
  };
  using Sizes = std::vector<int64_t>;
  fill(s.lengths, gpu ? Sizes{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072}
                      : Sizes{512, 2048, 8192});
  fill(s.head_dims, gpu ? Sizes{64, 128, 256} : Sizes{64, 128});
  using Names = std::vector<std::string>;
  fill(s.backends,
       gpu ? Names{"flash", "flash-atomics", "standard", "cudnn"} : Names{"flash", "standard"});
  if (s.tokens == 0) s.tokens = gpu ? 16384 : 1;
  return s;
}

void bench_attention(const Settings& settings, const AttentionSettings& given, Stopwatch& watch,
                     const Report& report) {
  const Device device = settings.context.device;
  const AttentionSettings attention = completed(given, device);
  report.heading(watch.peaks(),
                 "attention; FLOPs: 4 heads S^2 D a sequence forward, 2.5 times that backward, "
                 "causal half; memory: outputs, what is kept, gradients and workspaces");
  Comparison comparison;
  for (const int64_t head_dim : attention.head_dims) {
    const int64_t heads = attention.heads > 0      ? attention.heads
                          : device == Device::cuda ? std::max<int64_t>(1, 2048 / head_dim)
                                                   : 4;
    for (const int64_t length : attention.lengths) {
      for (const bool causal : {false, true}) {
        for (const DType dtype : settings.dtypes) {
          const Case c{.dtype = dtype,
                       .length = length,
                       .head_dim = head_dim,
                       .heads = heads,
                       .kv_heads = attention.kv_heads > 0 ? attention.kv_heads : heads,
                       .batch = std::max<int64_t>(1, attention.tokens / length),
                       .causal = causal};
          comparison.add(c, measure_backends(settings, attention, c, watch, report));
        }
      }
    }
  }
  comparison.print(report);
}

}  // namespace tessera::bench
