// Scalars of a configuration: from YAML text to a typed, checked value and back.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config/constraint.h"

namespace tessera::fields {

enum class ScalarType { boolean, integer, number, text };

// One allowed name of an enum; `unavailable` says why this build cannot do it, empty if it can.
struct Choice {
  std::string name;
  std::string unavailable;
};

// A YAML scalar as written. A quoted one is text, whatever it looks like.
struct ScalarText {
  std::string text;
  bool quoted = false;
};

// Sign and magnitude: wide enough for every integer type.
struct Integer {
  bool negative = false;
  uint64_t magnitude = 0;
};

// Each returns what is wrong with the text, or nothing after storing the value in `out`.
using Problem = std::optional<std::string>;
Problem parse_boolean(const ScalarText& text, bool& out);
Problem parse_integer(const ScalarText& text, const Constraint& constraint, Integer& out);
Problem parse_number(const ScalarText& text, const Constraint& constraint, double& out);
Problem parse_text(const ScalarText& text, const Constraint& constraint, std::string& out);
Problem parse_choice(const ScalarText& text, const std::vector<Choice>& choices, size_t& out);

template <class T>
Problem parse_integer_as(const ScalarText& text, const Constraint& constraint, T& out) {
  using Limits = std::numeric_limits<T>;
  Integer value;
  if (Problem problem = parse_integer(text, constraint, value)) return problem;
  const auto negated = static_cast<int64_t>(0 - value.magnitude);
  if (value.negative ? !std::in_range<T>(negated) : !std::in_range<T>(value.magnitude)) {
    return fmt::format("{} is out of range; allowed is >= {} and <= {}", text.text, Limits::min(),
                       Limits::max());
  }
  out = value.negative ? static_cast<T>(negated) : static_cast<T>(value.magnitude);
  return std::nullopt;
}

// "an integer >= 1", "one of fp32, bf16": what the reader expects.
std::string expected(ScalarType type, const Constraint& constraint,
                     const std::vector<Choice>& choices = {});

// The names of `choices` this build can do, joined: "fp32, bf16".
std::string available_names(const std::vector<Choice>& choices, std::string_view separator);

// Text as a YAML scalar, quoted where the plain form would read as something else.
std::string yaml_text(std::string_view text);

// Text for an error message: quoted, on one line, cut to a readable length.
std::string excerpt(std::string_view text);

}  // namespace tessera::fields
