// Line charts as SVG, drawn with the classes of the report's style sheet.
#pragma once

#include <string>
#include <vector>

namespace tessera {

struct Point {
  double x = 0, y = 0;
};

struct Series {
  std::string name;           // in the legend
  std::string style;          // CSS class of the line
  std::vector<Point> points;  // x rising; points that are not finite are passed over
  bool dots = false;          // a mark at each point
};

struct Chart {
  std::string title, unit;  // the unit of y, after the title
  std::vector<Series> series;
  bool from_zero = false;  // the y axis begins at 0
};

// Text for HTML and SVG.
std::string escape_markup(std::string_view text);

// "1200000" as "1.2M": up to four digits and a power of a thousand; 0.00012 as "1.2e-4".
std::string format_tick(double value);

// Values 1, 2 or 5 times a power of ten apart that lie within [low, high], at most `most` (2 or
// more); the one value where both are equal.
std::vector<double> ticks(double low, double high, int most);

// At most two points for each of `columns` equal parts of the range of x, the lowest and the
// highest, so that no peak is lost.
std::vector<Point> thinned(const std::vector<Point>& points, int columns);

// An <svg> element; where no series has a finite point, one that says so.
std::string to_svg(const Chart& chart);

}  // namespace tessera
