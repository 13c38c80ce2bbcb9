// bind(): a value tree (core/config/value.h) over the members of a configuration struct. The tree
// refers to the struct, which must outlive it and stay in place.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config/value.h"

namespace tessera::fields {

template <class T>
Value bind(T& member, const Constraint& constraint);

// What `visit` calls: one line per key.
class FieldCollector {
 public:
  template <class T>
  void operator()(const char* name, T& member, const char* help, const Constraint& rule = {}) {
    fields_.push_back({name, help, bind(member, rule)});
  }
  std::vector<Field> take() { return std::move(fields_); }

 private:
  std::vector<Field> fields_;
};

template <class T>
concept Visited = requires(T& section, FieldCollector& collector) {
  section.visit(collector);
};

template <class T>
Section bind_section(T& section) {
  FieldCollector collector;
  section.visit(collector);
  return {collector.take()};
}

template <class T>
std::function<Value()> bind_sample(const Constraint& rule) {
  return [rule, sample = std::make_shared<T>()] { return bind(*sample, rule); };
}

template <class T>
Value bind_container(std::vector<T>& list, const Constraint& rule) {
  Constraint element_rule = rule;
  element_rule.min_length = 0;
  return List{.min_length = rule.min_length,
              .clear = [&list] { list.clear(); },
              .append = [&list, element_rule] { return bind(list.emplace_back(), element_rule); },
              .elements =
                  [&list, element_rule] {
                    std::vector<Value> values;
                    for (T& element : list) values.push_back(bind(element, element_rule));
                    return values;
                  },
              .sample = bind_sample<T>(element_rule)};
}

template <class T>
Value bind_container(std::optional<T>& member, const Constraint& rule) {
  return Optional{.has_value = [&member] { return member.has_value(); },
                  .reset = [&member] { member.reset(); },
                  .value =
                      [&member, rule] {
                        if (!member) member.emplace();
                        return bind(*member, rule);
                      },
                  .sample = bind_sample<T>(rule)};
}

template <class E>
Scalar bind_enum(E& member) {
  std::vector<Choice> choices;
  for (const auto& row : enum_names(E{})) {
    choices.push_back({row.name, row.unavailable ? row.unavailable : ""});
  }
  return {.type = ScalarType::text,
          .choices = choices,
          .set =
              [&member, choices](const ScalarText& text) {
                size_t index = 0;
                Problem problem = parse_choice(text, choices, index);
                if (!problem) member = enum_names(E{})[index].value;
                return problem;
              },
          .yaml = [&member] { return std::string(name_of(member)); }};
}

template <class T>
Scalar bind_text(T& member, const Constraint& rule) {
  std::vector<Choice> choices;
  for (const std::string& name : rule.choices) choices.push_back({name, ""});
  return {.type = ScalarType::text,
          .constraint = rule,
          .choices = choices,
          .set =
              [&member, rule](const ScalarText& text) {
                std::string value;
                Problem problem = parse_text(text, rule, value);
                if (!problem) member = value;
                return problem;
              },
          .yaml =
              [&member] {
                if constexpr (std::same_as<T, std::string>)
                  return yaml_text(member);
                else
                  return yaml_text(member.string());
              }};
}

template <class T>
Scalar bind_number(T& member, const Constraint& rule) {
  return {.type = std::floating_point<T> ? ScalarType::number : ScalarType::integer,
          .constraint = rule,
          .set =
              [&member, rule](const ScalarText& text) {
                if constexpr (std::integral<T>) {
                  return parse_integer_as(text, rule, member);
                } else {
                  double value = 0;
                  Problem problem = parse_number(text, rule, value);
                  if (!problem) member = static_cast<T>(value);
                  return problem;
                }
              },
          .yaml = [&member] { return fmt::format("{}", member); }};
}

inline Scalar bind_boolean(bool& member) {
  return {.type = ScalarType::boolean,
          .set = [&member](const ScalarText& text) { return parse_boolean(text, member); },
          .yaml = [&member] { return std::string(member ? "true" : "false"); }};
}

template <class T>
Value bind(T& member, const Constraint& constraint) {
  if constexpr (Visited<T>) {
    return bind_section(member);
  } else if constexpr (std::same_as<T, bool>) {
    return bind_boolean(member);
  } else if constexpr (std::integral<T> || std::floating_point<T>) {
    return bind_number(member, constraint);
  } else if constexpr (std::same_as<T, std::string> || std::same_as<T, std::filesystem::path>) {
    return bind_text(member, constraint);
  } else if constexpr (std::is_enum_v<T>) {
    return bind_enum(member);
  } else {
    return bind_container(member, constraint);
  }
}

}  // namespace tessera::fields
