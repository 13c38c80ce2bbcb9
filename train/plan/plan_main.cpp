// plan CONFIG.yaml: what a run will need, without running it.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/program/program.h"
#include "train/metrics/console.h"
#include "train/plan/plan.h"

namespace tessera {
namespace {

void print_memory(const Plan& plan) {
  fmt::print("\nmemory                at the peak       largest of its own\n");
  for (size_t tag = 0; tag < kMemoryTags; ++tag) {
    if (plan.peak_by_tag[tag] == 0) continue;
    fmt::print("  {:<14} {:>16} {:>24}\n", name_of(MemoryTag(tag)),
               format_bytes(double(plan.at_peak[tag])),
               format_bytes(double(plan.peak_by_tag[tag])));
  }
  fmt::print("  {:<14} {:>16}   = {} bytes\n", "total", format_bytes(double(plan.peak_bytes)),
             plan.peak_bytes);
}

void print_kernels(const Plan& plan) {
  using Row = std::pair<std::string, CostTable::Row>;
  std::vector<Row> rows(plan.step.rows().begin(), plan.step.rows().end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.second.flops > b.second.flops; });
  rows.emplace_back("total", plan.step.total());
  fmt::print("\n{:<34} {:>8} {:>12} {:>12} {:>12}\n", "kernels of a step", "calls", "GFLOP",
             "GB moved", "FLOP/byte");
  for (const auto& [name, row] : rows) {
    fmt::print("  {:<32} {:>8} {:>12.3f} {:>12.3f} {:>12.1f}\n", name, row.calls, row.flops * 1e-9,
               row.bytes * 1e-9, row.bytes > 0 ? row.flops / row.bytes : 0.0);
  }
}

void print(const RunConfig& config, const Plan& plan) {
  fmt::print("{}: {} ({} parameters), {} sequences x {} tokens a step\n", config.run.name,
             config.model.preset, plan.parameters, config.sequences_per_step(),
             config.model.context);
  fmt::print(
      "{:.4g} GFLOP per token, {:.4g} TFLOP per step (forward and backward, causal attention "
      "counts half)\n",
      plan.flops_per_token * 1e-9, plan.flops_per_token * double(plan.tokens_per_step) * 1e-12);
  print_memory(plan);
  print_kernels(plan);
}

nlohmann::ordered_json to_json(const RunConfig& config, const Plan& plan) {
  nlohmann::ordered_json at_peak, largest, kernels;
  for (size_t tag = 0; tag < kMemoryTags; ++tag) {
    at_peak[std::string(name_of(MemoryTag(tag)))] = plan.at_peak[tag];
    largest[std::string(name_of(MemoryTag(tag)))] = plan.peak_by_tag[tag];
  }
  for (const auto& [name, row] : plan.step.rows()) {
    kernels[name] = {{"calls", row.calls}, {"flops", row.flops}, {"bytes", row.bytes}};
  }
  return {{"name", config.run.name},
          {"parameters", plan.parameters},
          {"context", config.model.context},
          {"tokens_per_step", plan.tokens_per_step},
          {"flops_per_token", plan.flops_per_token},
          {"peak_bytes", plan.peak_bytes},
          {"bytes_at_peak", at_peak},
          {"peak_bytes_by_tag", largest},
          {"kernels_of_a_step", kernels}};
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  using namespace tessera;
  CLI::App app(
      "Tell what a run will need: memory to the byte, arithmetic and traffic of every kernel.",
      "plan");
  app.footer("Example:\n  plan configs/llama3.1_8b_128k.yaml --set memory.recompute=block");
  std::string path;
  std::vector<std::string> overrides;
  bool json = false;
  app.add_option("CONFIG", path, "a run's YAML file; its data files need not exist")->required();
  app.add_option("--set", overrides, "section.key=value, on top of the file; may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--json", json, "print JSON");
  return run_program(app, argc, argv, [&] {
    const RunConfig config = load_run_config(path, overrides, ConfigUse::plan);
    const Plan plan = make_plan(config);
    if (json) {
      fmt::print("{}\n", to_json(config, plan).dump(2));
    } else {
      print(config, plan);
    }
  });
}
