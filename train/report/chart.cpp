#include "train/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera {
namespace {

// In units of the drawing, which the page scales to its width.
constexpr double kWidth = 560, kHeight = 250;
constexpr double kLeft = 58, kRight = 14, kTop = 34, kBottom = 26;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Where `value` lies in it, [0, 1]; the middle of a range of one value.
  double share(double value) const { return high > low ? (value - low) / (high - low) : 0.5; }
};

struct Frame {
  Range x, y;

  double left(double value) const { return kLeft + x.share(value) * (kWidth - kLeft - kRight); }
  double top(double value) const {
    return kHeight - kBottom - y.share(value) * (kHeight - kTop - kBottom);
  }
};

Frame frame_of(const std::vector<Series>& all, bool from_zero) {
  Frame frame;
  for (const Series& series : all) {
    for (const Point& point : series.points) {
      frame.x.include(point.x);
      frame.y.include(point.y);
    }
  }
  if (from_zero) frame.y.include(0);
  return frame;
}

std::string axes(const Frame& frame) {
  std::string svg;
  for (const double y : ticks(frame.y.low, frame.y.high, 6)) {
    svg += fmt::format(
        "<line class='grid' x1='{:.1f}' x2='{:.1f}' y1='{:.1f}' y2='{:.1f}'/>"
        "<text class='tick' text-anchor='end' x='{:.1f}' y='{:.1f}'>{}</text>\n",
        kLeft, kWidth - kRight, frame.top(y), frame.top(y), kLeft - 6, frame.top(y) + 4,
        format_tick(y));
  }
  for (const double x : ticks(frame.x.low, frame.x.high, 7)) {
    svg += fmt::format("<text class='tick' text-anchor='middle' x='{:.1f}' y='{:.1f}'>{}</text>\n",
                       frame.left(x), kHeight - 8, format_tick(x));
  }
  return svg;
}

std::string line_of(const Frame& frame, const Series& series) {
  std::string points, dots;
  for (const Point& point : thinned(series.points, int(kWidth - kLeft - kRight))) {
    points += fmt::format("{:.1f},{:.1f} ", frame.left(point.x), frame.top(point.y));
    if (series.dots) {
      dots += fmt::format(
          "<circle class='{}' cx='{:.1f}' cy='{:.1f}' r='3'><title>step {:.0f}: {:.6g}</title>"
          "</circle>\n",
          series.style, frame.left(point.x), frame.top(point.y), point.x, point.y);
    }
  }
  return fmt::format("<polyline class='{}' points='{}'/>\n", series.style, points) + dots;
}

std::string legend(const std::vector<Series>& all) {
  if (all.size() < 2) return {};
  std::string svg;
  double right = kWidth - kRight;
  for (auto series = all.rbegin(); series != all.rend(); ++series) {
    svg += fmt::format("<text class='legend {}' text-anchor='end' x='{:.1f}' y='18'>{}</text>\n",
                       series->style, right, escape_markup(series->name));
    right -= 7.0 * double(series->name.size()) + 16;  // 7: a wide letter of the legend's font
  }
  return svg;
}

std::vector<Series> finite(std::vector<Series> all) {
  for (Series& series : all) {
    std::erase_if(series.points,
                  [](const Point& p) { return !std::isfinite(p.x) || !std::isfinite(p.y); });
  }
  std::erase_if(all, [](const Series& series) { return series.points.empty(); });
  return all;
}

}  // namespace

std::string escape_markup(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string format_tick(double value) {
  const double size = std::abs(value);
  if (size > 0 && size < 1e-3) {
    const int exponent = int(std::floor(std::log10(size) + 1e-9));
    return fmt::format("{:.3g}e{}", value * std::pow(10.0, -exponent), exponent);
  }
  constexpr std::pair<double, const char*> kUnits[] = {
      {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  for (const auto& [unit, letter] : kUnits)
    if (size >= unit) return fmt::format("{:.4g}{}", value / unit, letter);
  return fmt::format("{:.4g}", value);
}

std::vector<double> ticks(double low, double high, int most) {
  if (!(high > low)) return {low};
  const double rough = (high - low) / most;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0})
    if (factor * power >= rough) step = factor * power;
  std::vector<double> values;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i)
    values.push_back(i * step + 0.0);  // + 0.0: 0 for -0
  return values;
}

std::vector<Point> thinned(const std::vector<Point>& points, int columns) {
  if (points.size() <= 2 * size_t(columns)) return points;
  const double first = points.front().x, range = points.back().x - first;
  std::vector<Point> kept;
  for (size_t begin = 0, end = 0; begin < points.size(); begin = end) {
    const auto column = [&](const Point& p) {
      return std::min(columns - 1, int(double(columns) * (p.x - first) / range));
    };
    const int here = column(points[begin]);
    while (end < points.size() && column(points[end]) == here) ++end;
    const auto [low, high] =
        std::minmax_element(points.begin() + int64_t(begin), points.begin() + int64_t(end),
                            [](const Point& a, const Point& b) { return a.y < b.y; });
    kept.push_back(*std::min(low, high));
    if (low != high) kept.push_back(*std::max(low, high));
  }
  return kept;
}

std::string to_svg(const Chart& chart) {
  const std::vector<Series> all = finite(chart.series);
  std::string svg = fmt::format(
      "<svg viewBox='0 0 {} {}' role='img' aria-label='{}'>\n"
      "<text class='title' x='4' y='18'>{}<tspan class='tick'> {}</tspan></text>\n",
      kWidth, kHeight, escape_markup(chart.title), escape_markup(chart.title),
      escape_markup(chart.unit));
  if (all.empty()) {
    svg += fmt::format("<text class='tick' x='{}' y='{}'>nothing was recorded</text>\n", kLeft,
                       kHeight / 2);
  } else {
    const Frame frame = frame_of(all, chart.from_zero);
    svg += axes(frame);
    for (const Series& series : all) svg += line_of(frame, series);
    svg += legend(all);
  }
  return svg + "</svg>\n";
}

}  // namespace tessera
