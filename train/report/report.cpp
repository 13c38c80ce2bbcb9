#include "train/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/check.h"
#include "core/files/file.h"
#include "core/files/output_file.h"
#include "train/metrics/console.h"
#include "train/report/chart.h"

namespace tessera {
namespace {

constexpr const char* kHead = R"(<!doctype html>
<html lang='en'>
<head>
<meta charset='utf-8'>
<meta name='viewport' content='width=device-width, initial-scale=1'>
<title>{0}</title>
<style>
:root {{ --ink: #1c1e21; --faint: #6b7075; --rule: #e3e5e8; --page: #fff; --tile: #f5f6f8;
  --a: #2866c9; --b: #c7570c; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e8ea; --faint: #9aa0a6; --rule: #33373c;
  --page: #17191c; --tile: #202327; --a: #79a9f5; --b: #f0985a; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin: 0 0 1rem; }}
h2 {{ font-size: 1.05rem; margin: 2rem 0 .6rem; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .7rem; }}
.tile {{ background: var(--tile); border-radius: 8px; padding: .6rem .9rem; }}
.tile b {{ display: block; font-size: 1.25rem; font-weight: 600; }}
.tile span, td.name {{ color: var(--faint); font-size: .85rem; }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1rem; }}
svg {{ width: 100%; height: auto; }}
svg text {{ font: 12px system-ui, sans-serif; fill: var(--ink); }}
svg .title {{ font-size: 14px; font-weight: 600; }}
svg .tick {{ fill: var(--faint); font-size: 11px; font-weight: 400; }}
.grid {{ stroke: var(--rule); }}
polyline {{ fill: none; stroke-width: 1.6; stroke-linejoin: round; }}
polyline.a {{ stroke: var(--a); }} polyline.b {{ stroke: var(--b); }}
polyline.raw {{ stroke: var(--a); stroke-width: 1; opacity: .3; }}
circle.b {{ fill: var(--b); }}
svg text.a, svg text.raw {{ fill: var(--a); }} svg text.raw {{ opacity: .6; }}
svg text.b {{ fill: var(--b); }}
table {{ border-collapse: collapse; width: 100%; }}
td {{ padding: .15rem .8rem .15rem 0; white-space: nowrap; }} td.bar {{ width: 80%; }}
td.bar div {{ background: var(--a); height: .7rem; border-radius: 3px; min-width: 1px; }}
pre {{ background: var(--tile); border-radius: 8px; padding: .9rem; overflow-x: auto;
  font-size: .8rem; }}
</style>
</head>
<body>
<h1>{0}</h1>
)";

// Columns of metrics.jsonl over the steps.
struct RunHistory {
  std::map<std::string, std::vector<Point>> columns;
  std::map<std::string, double> peak_by_tag;  // bytes, of the last step

  const std::vector<Point>& operator[](const std::string& name) const {
    static const std::vector<Point> kNone;
    const auto found = columns.find(name);
    return found == columns.end() ? kNone : found->second;
  }
};

RunHistory read_history(const std::filesystem::path& path) {
  std::ifstream in(path);
  check(in.good(), "{}: cannot be read", path.string());
  RunHistory history;
  for (std::string line; std::getline(in, line);) {
    const auto record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object() || !record.contains("step") || !record["step"].is_number()) continue;
    const double step = record["step"].get<double>();
    for (const auto& [name, value] : record.items()) {
      if (value.is_number()) history.columns[name].push_back({step, value.get<double>()});
    }
    if (!record.contains("peak_bytes_by_tag") || !record["peak_bytes_by_tag"].is_object()) continue;
    for (const auto& [tag, bytes] : record["peak_bytes_by_tag"].items())
      if (bytes.is_number()) history.peak_by_tag[tag] = bytes.get<double>();
  }
  return history;
}

// The mean of the last `count` values.
std::optional<double> recent_mean(const std::vector<Point>& points, size_t count) {
  if (points.empty()) return std::nullopt;
  const size_t first = points.size() - std::min(count, points.size());
  double sum = 0;
  for (size_t i = first; i < points.size(); ++i) sum += points[i].y;
  return sum / double(points.size() - first);
}

std::optional<double> median(std::vector<Point> points) {
  if (points.empty()) return std::nullopt;
  const auto middle = points.begin() + int64_t(points.size() / 2);
  std::ranges::nth_element(points, middle, {}, &Point::y);
  return middle->y;
}

// An exponential mean over about a hundredth of the run.
std::vector<Point> smoothed(std::vector<Point> points) {
  const double keep = std::exp(-100.0 / double(std::max<size_t>(100, points.size())));
  double sum = 0, weight = 0;
  for (Point& point : points) {
    sum = keep * sum + (1 - keep) * point.y;
    weight = keep * weight + (1 - keep);
    point.y = sum / weight;
  }
  return points;
}

std::string tile(const std::string& value, const std::string& name) {
  return fmt::format("<div class='tile'><b>{}</b><span>{}</span></div>\n", escape_markup(value),
                     escape_markup(name));
}

std::string tiles(const RunHistory& history) {
  std::string html = "<div class='tiles'>\n";
  if (const auto loss = recent_mean(history["loss"], 20))
    html += tile(fmt::format("{:.4f}", *loss), "training loss, mean of the last 20 steps");
  if (const auto& points = history["validation_loss"]; !points.empty()) {
    const Point best = *std::ranges::min_element(points, {}, &Point::y);
    html += tile(fmt::format("{:.4f}", best.y),
                 fmt::format("lowest validation loss, at step {:.0f}", best.x));
  }
  if (const auto& tokens = history["tokens"]; !tokens.empty())
    html +=
        tile(format_count(tokens.back().y), fmt::format("tokens in {:.0f} steps", tokens.back().x));
  if (const auto rate = median(history["tokens_per_second"]))
    html += tile(format_count(*rate), "tokens a second, median");
  if (const auto mfu = median(history["model_flops_utilization"]); mfu && *mfu > 0)
    html += tile(fmt::format("{:.1f}%", 100 * *mfu), "model FLOPs utilization, median");
  if (const auto& peak = history["peak_bytes"]; !peak.empty())
    html += tile(format_bytes(peak.back().y), "peak memory of all tensors");
  double milliseconds = 0;
  for (const Point& step : history["step_ms"]) milliseconds += step.y;
  return html + tile(format_duration(milliseconds * 1e-3), "time in steps") + "</div>\n";
}

std::string charts(const RunHistory& history) {
  const std::vector<Chart> all = {
      {.title = "Loss",
       .unit = "nats a token",
       .series = {{"each step", "raw", history["loss"]},
                  {"smoothed", "a", smoothed(history["loss"])},
                  {"validation", "b", history["validation_loss"], true}}},
      {.title = "Gradient norm",
       .unit = "before clipping",
       .series = {{"", "a", history["grad_norm"]}},
       .from_zero = true},
      {.title = "Learning rate", .series = {{"", "a", history["lr"]}}, .from_zero = true},
      {.title = "Speed",
       .unit = "tokens a second",
       .series = {{"", "a", history["tokens_per_second"]}},
       .from_zero = true}};
  std::string html = "<h2>Over the steps</h2>\n<div class='charts'>\n";
  for (const Chart& chart : all) html += to_svg(chart);
  return html + "</div>\n";
}

std::string memory(const RunHistory& history) {
  double most = 1;
  for (const auto& [tag, bytes] : history.peak_by_tag) most = std::max(most, bytes);
  std::string html = "<h2>Peak memory of each kind of tensor</h2>\n<table>\n";
  for (const auto& [tag, bytes] : history.peak_by_tag) {
    if (bytes <= 0) continue;
    html += fmt::format(
        "<tr><td class='name'>{}</td><td>{}</td><td class='bar'><div style='width:{:.1f}%'></div>"
        "</td></tr>\n",
        escape_markup(tag), format_bytes(bytes), 100 * bytes / most);
  }
  return html + "</table>\n";
}

}  // namespace

void write_report(const std::filesystem::path& run_folder, const std::string& title) {
  const std::string config = read_text_file(run_folder / "config.yaml");
  const RunHistory history = read_history(run_folder / "metrics.jsonl");
  std::string html = fmt::format(kHead, escape_markup(title));
  html += tiles(history) + charts(history);
  if (!history.peak_by_tag.empty()) html += memory(history);
  html += fmt::format("<h2>Configuration</h2>\n<pre>{}</pre>\n</body>\n</html>\n",
                      escape_markup(config));
  OutputFile file(run_folder / "report.html");
  write_text_file(file.temporary(), html);
  file.commit();
}

}  // namespace tessera
