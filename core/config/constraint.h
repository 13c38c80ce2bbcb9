// What a configuration value may be, said once beside the key; checked on reading and told by the
// printed configuration, the help text and the JSON Schema.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace tessera {

struct Constraint {
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool above_minimum = false;             // the minimum itself is excluded
  bool below_maximum = false;             // the maximum itself is excluded
  bool token_suffixes = false;            // integers may be written 64K or 1M (K = 1024)
  size_t min_length = 0;                  // characters of text, elements of a list
  std::vector<std::string> choices = {};  // the only texts allowed, when not empty

  bool allows(double value) const;
  // "> 0", ">= 0 and < 1"; empty where every number is allowed.
  std::string range() const;
};

Constraint positive();
Constraint at_least(double minimum);
// minimum <= value <= maximum
Constraint between(double minimum, double maximum);
// minimum <= value < maximum
Constraint from_to_below(double minimum, double maximum);
// A number of tokens, from minimum to maximum; 64K and 1M are understood.
Constraint tokens(double minimum, double maximum = std::numeric_limits<double>::infinity());
// Text or a list with at least one character or element.
Constraint not_empty();
Constraint one_of(std::vector<std::string> choices);

}  // namespace tessera
