#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "model/flops.h"
#include "tests/bench/benchmarks.h"
#include "tests/bench/shapes.h"
#include "train/plan/cost_table.h"
#include "train/step.h"

namespace tessera::bench {
namespace {

Batch random_batch(const StepShape& shape) {
  const Philox random(1, purpose_id("bench"), 0);
  Batch batch{.samples = shape.batch, .context = shape.model.context};
  for (int64_t i = 0; i < batch.samples * batch.context; ++i) {
    batch.tokens.push_back(
        int32_t(random.below(uint64_t(2 * i), uint64_t(shape.model.vocab_size))));
    batch.targets.push_back(
        int32_t(random.below(uint64_t(2 * i + 1), uint64_t(shape.model.vocab_size))));
    batch.positions.push_back(int32_t(i % batch.context));
  }
  return batch;
}

// Where the time of a step goes: the kernels by their share, and what is left between them.
void print_kernels(const CostTable& table, double step_seconds, int steps) {
  std::vector<std::pair<std::string, CostTable::Row>> rows(table.rows().begin(),
                                                           table.rows().end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  for (const auto& [name, row] : rows) {
    const double seconds = row.seconds / steps;
    fmt::print("    {:<40} {:>9.3f} ms {:>5.1f}% {:>8.1f} GFLOP/s {:>7.1f} GB/s\n", name,
               seconds * 1e3, 100 * seconds / step_seconds, row.flops / row.seconds * 1e-9,
               row.bytes / row.seconds * 1e-9);
  }
  const double rest = step_seconds - table.total().seconds / steps;
  fmt::print("    {:<40} {:>9.3f} ms {:>5.1f}%\n", "between kernels", rest * 1e3,
             100 * rest / step_seconds);
}

// The process's peak resident memory, in MiB.
double process_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

void bench_one(const Settings& settings, const std::string& name, DType dtype, bool kernels,
               Stopwatch& watch, const Report& report) {
  const StepShape shape = step_shape(name);
  Context ctx(settings.context);
  const Llama model(ctx, shape.model, {.dtype = dtype});
  AdamW optimizer(ctx, model.parameters(), {});
  initialize(ctx, model.parameters(), 1);
  optimizer.copy_masters(ctx);
  const Batch batch = random_batch(shape);
  const auto step = [&] { training_step(ctx, model, optimizer, std::span(&batch, 1), 3e-4, {}); };
  const Measurement time = watch.measure(ctx, step);

  const double tokens = double(shape.batch * shape.model.context);
  const double flops = training_flops_per_token(shape.model, shape.model.context) * tokens;
  report.row({fmt::format("step ({}) {}", name, name_of(dtype)), dtype, flops, time}, watch.peaks(),
             {{"tokens_per_second", tokens / time.seconds},
              {"share_of_f32_peak", flops / time.seconds / watch.peaks().f32},
              {"ledger_peak_mib", double(ctx.ledger().peak()) / 1048576.0},
              {"process_peak_mib", process_memory()}});
  if (!kernels || report.json()) return;
  constexpr int kSteps = 5;
  CostTable table([&] { ctx.synchronize(); });
  ctx.set_kernel_log(&table);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kSteps; ++i) step();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  print_kernels(table, seconds / kSteps, kSteps);
}

}  // namespace

void bench_step(const Settings& settings, const std::vector<std::string>& shapes, bool kernels,
                Stopwatch& watch, const Report& report) {
  report.heading(watch.peaks(),
                 "training steps; FLOPs by 6 x matrix parameters + causal attention, per token");
  for (const std::string& shape : shapes) {
    for (const DType dtype : settings.dtypes)
      bench_one(settings, shape, dtype, kernels, watch, report);
  }
}

}  // namespace tessera::bench
