#include "core/config/constraint.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace tessera {
namespace {

std::string bound_text(double bound) {
  const bool is_integer = std::nearbyint(bound) == bound && std::abs(bound) < 1e15;
  return is_integer ? fmt::format("{:.0f}", bound) : fmt::format("{}", bound);
}

}  // namespace

bool Constraint::allows(double value) const {
  return (above_minimum ? value > minimum : value >= minimum) &&
         (below_maximum ? value < maximum : value <= maximum);
}

std::string Constraint::range() const {
  std::string text;
  if (std::isfinite(minimum)) {
    text = fmt::format("{} {}", above_minimum ? ">" : ">=", bound_text(minimum));
  }
  if (std::isfinite(maximum)) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " and ",
                        below_maximum ? "<" : "<=", bound_text(maximum));
  }
  return text;
}

Constraint positive() {
  return {.minimum = 0, .above_minimum = true};
}

Constraint at_least(double minimum) {
  return {.minimum = minimum};
}

Constraint between(double minimum, double maximum) {
  return {.minimum = minimum, .maximum = maximum};
}

Constraint from_to_below(double minimum, double maximum) {
  return {.minimum = minimum, .maximum = maximum, .below_maximum = true};
}

Constraint tokens(double minimum, double maximum) {
  return {.minimum = minimum, .maximum = maximum, .token_suffixes = true};
}

Constraint not_empty() {
  return {.min_length = 1};
}

Constraint one_of(std::vector<std::string> choices) {
  return {.choices = std::move(choices)};
}

}  // namespace tessera
