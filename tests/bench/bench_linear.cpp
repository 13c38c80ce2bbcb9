#include <fmt/format.h>

#include "core/transfer.h"
#include "kernels/elementwise/kernel.h"
#include "kernels/linear/kernel.h"
#include "tests/bench/benchmarks.h"
#include "tests/bench/shapes.h"

namespace tessera::bench {
namespace {

Tensor random_matrix(Context& ctx, int64_t rows, int64_t columns, DType dtype) {
  const Tensor wide = ctx.empty({rows, columns}, DType::f32);
  const Philox random(1, purpose_id("bench/linear"), 0);
  std::vector<float> values(size_t(wide.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = random.uniform(i) - 0.5f;
  upload(wide, values.data());
  if (dtype == DType::f32) return wide;
  Tensor narrow = ctx.empty(wide.shape(), dtype);
  convert(ctx, narrow, wide);
  return narrow;
}

struct Layer {
  std::string name;
  int64_t rows, in, out;
};

void bench_layer(const Settings& settings, const Layer& layer, DType dtype, Stopwatch& watch,
                 const Report& report) {
  Context ctx(settings.context);
  const Tensor x = random_matrix(ctx, layer.rows, layer.in, dtype),
               w = random_matrix(ctx, layer.out, layer.in, dtype);
  const Tensor y = random_matrix(ctx, layer.rows, layer.out, dtype);
  const Tensor weight_grad = ctx.zeros({layer.out, layer.in}, DType::f32);
  const double flops = 2.0 * double(layer.rows * layer.in * layer.out);
  const auto time = [&](const char* what, const MatmulArgs& args) {
    const std::string name = fmt::format("{} {} x {} x {} {} {}", layer.name, layer.rows, layer.in,
                                         layer.out, name_of(dtype), what);
    report.row({name, dtype, flops, watch.measure(ctx, [&] { matmul(ctx, args); })}, watch.peaks());
  };
  time("forward", {.a = x, .b = w, .c = y, .transpose_b = true});
  time("input gradient", {.a = y, .b = w, .c = x});
  time("weight gradient",
       {.a = y, .b = x, .c = weight_grad, .transpose_a = true, .accumulate = true});
}

}  // namespace

void bench_linear(const Settings& settings, const std::vector<std::string>& shapes,
                  Stopwatch& watch, const Report& report) {
  report.heading(watch.peaks(), "linear layers: rows x in x out");
  for (const std::string& name : shapes) {
    const StepShape shape = step_shape(name);
    const int64_t rows = shape.batch * shape.model.context, d = shape.model.width,
                  f = shape.model.ffn_width;
    for (const DType dtype : settings.dtypes) {
      for (const Layer& layer : {Layer{"qkv", rows, d, 3 * d}, Layer{"output", rows, d, d},
                                 Layer{"gate_up", rows, d, 2 * f}, Layer{"down", rows, f, d}}) {
        bench_layer(settings, layer, dtype, watch, report);
      }
    }
  }
}

}  // namespace tessera::bench
