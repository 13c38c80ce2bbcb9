// A configuration struct as a tree of named values bound to its members.
//
// `visit` lines describe a section; bind() turns them into this tree, and the reader, the printer,
// the help text and the schema are plain code over it:
//
//   struct AdamWConfig {
//     double lr = 3e-4;
//     void visit(auto&& v) { v("lr", lr, "peak learning rate", positive()); }
//   };
//
// Members may be bool, integers, floating point, std::string, std::filesystem::path, enums with
// enum_names(), structs with visit(), and std::vector or std::optional of these.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/config/constraint.h"
#include "core/config/scalar.h"

namespace tessera {

// One row of an enum's name table, which stands beside the enum and is found by its type:
//   constexpr auto enum_names(Mode) {
//     return std::to_array<EnumName<Mode>>(
//         {{Mode::fp32, "fp32"}, {.name = "fp8", .unavailable = "it has no FP8 kernels"}});
//   }
// A row with `unavailable` is a name this build refuses, and why; it needs no value.
template <class E>
struct EnumName {
  E value = {};
  const char* name = nullptr;
  const char* unavailable = nullptr;
};

template <class E>
requires std::is_enum_v<E> std::string_view name_of(E value) {
  for (const auto& row : enum_names(E{})) {
    if (row.value == value && !row.unavailable) return row.name;
  }
  return "unnamed";
}

namespace fields {

struct Value;
struct Field;

struct Scalar {
  ScalarType type;
  Constraint constraint = {};
  std::vector<Choice> choices = {};  // the only texts allowed, when not empty
  std::function<Problem(const ScalarText&)> set;
  std::function<std::string()> yaml;  // the present value
};

struct Section {
  std::vector<Field> fields;
};

struct List {
  size_t min_length = 0;
  std::function<void()> clear;
  std::function<Value()> append;  // adds a default element
  std::function<std::vector<Value>()> elements;
  std::function<Value()> sample;  // an element apart from the list, for the schema
};

struct Optional {
  std::function<bool()> has_value;
  std::function<void()> reset;
  std::function<Value()> value;  // created where absent
  std::function<Value()> sample;
};

struct Value : std::variant<Scalar, Section, List, Optional> {
  using variant::variant;
};

struct Field {
  std::string name;
  std::string help;
  Value value;
};

}  // namespace fields
}  // namespace tessera
