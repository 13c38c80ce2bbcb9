#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>

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

// A model with all that a training step of it needs.
class StepRunner {
 public:
  StepRunner(const ContextOptions& options, const StepShape& shape, DType dtype)
      : ctx_(options),
        model_(ctx_, shape.model, {.dtype = dtype}),
        optimizer_(ctx_, model_.parameters(), {}),
        batch_(random_batch(shape)) {
    initialize(ctx_, model_.parameters(), 1);
    optimizer_.copy_masters(ctx_);
  }

  Context& context() { return ctx_; }
  void step() { training_step(ctx_, model_, optimizer_, std::span(&batch_, 1), 3e-4, {}); }

 private:
  Context ctx_;
  Llama model_;
  AdamW optimizer_;
  Batch batch_;
};

void profile(StepRunner& runner) {
  constexpr int kSteps = 5;
  CostTable table([&] { runner.context().synchronize(); });
  runner.context().set_kernel_log(&table);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kSteps; ++i) runner.step();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  runner.context().set_kernel_log(nullptr);
  print_kernels(table, seconds / kSteps, kSteps);
}

// All dtypes in turn, since only then the ratio of their times means something.
void bench_shape(const Settings& settings, const std::string& name, bool kernels, Stopwatch& watch,
                 const Report& report) {
  const StepShape shape = step_shape(name);
  std::vector<std::unique_ptr<StepRunner>> runners;
  std::vector<Timed> bodies;
  for (const DType dtype : settings.dtypes) {
    runners.push_back(std::make_unique<StepRunner>(settings.context, shape, dtype));
    bodies.push_back(
        {runners.back()->context(), [runner = runners.back().get()] { runner->step(); }});
  }
  const std::vector<Measurement> times = watch.measure_in_turn(bodies);
  const double tokens = double(shape.batch * shape.model.context);
  const double flops = training_flops_per_token(shape.model, shape.model.context) * tokens;
  for (size_t i = 0; i < times.size(); ++i) {
    report.row({fmt::format("step ({}) {}", name, name_of(settings.dtypes[i])), settings.dtypes[i],
                flops, times[i]},
               watch.peaks(),
               {{"tokens_per_second", tokens / times[i].seconds},
                {"share_of_f32_peak", flops / times[i].seconds / watch.peaks().f32},
                {"times_first_dtype", time_ratio(times.front(), times[i])},
                {"ledger_peak_mib", double(runners[i]->context().ledger().peak()) / 1048576.0},
                {"process_peak_mib", process_memory()}});
    if (report.json()) continue;
    if (i > 0)
      fmt::print("    {:.2f} times as fast as {}\n", time_ratio(times.front(), times[i]),
                 name_of(settings.dtypes.front()));
    if (kernels) profile(*runners[i]);
  }
}

}  // namespace

void bench_step(const Settings& settings, const std::vector<std::string>& shapes, bool kernels,
                Stopwatch& watch, const Report& report) {
  report.heading(watch.peaks(),
                 "training steps; FLOPs by 6 x matrix parameters + causal attention, per token");
  for (const std::string& shape : shapes) bench_shape(settings, shape, kernels, watch, report);
}

}  // namespace tessera::bench
