#include "core/config/printer.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera::fields {
namespace {

std::string flow(const Value& value);

template <class Items, class ToText>
std::string joined(const Items& items, const ToText& to_text) {
  std::string text;
  for (const auto& item : items) {
    if (!text.empty()) text += ", ";
    text += to_text(item);
  }
  return text;
}

// The whole value on one line.
struct Flow {
  std::string operator()(const Scalar& scalar) const { return scalar.yaml(); }
  std::string operator()(const Section& section) const {
    return fmt::format("{{{}}}", joined(section.fields, [](const Field& field) {
                         return fmt::format("{}: {}", field.name, flow(field.value));
                       }));
  }
  std::string operator()(const List& list) const {
    return fmt::format("[{}]", joined(list.elements(), flow));
  }
  std::string operator()(const Optional& optional) const {
    return optional.has_value() ? flow(optional.value()) : "null";
  }
};

std::string flow(const Value& value) {
  return std::visit(Flow{}, static_cast<const Value::variant&>(value));
}

const Section* as_section(const Value& value) {
  return std::get_if<Section>(&value);
}

bool holds_sections(const Value& value) {
  const auto* list = std::get_if<List>(&value);
  return list && std::holds_alternative<Section>(list->sample());
}

// "> 0", "fp32 | bf16": what a scalar may be beyond its type; empty where nothing is ruled out.
struct Allowed {
  std::string operator()(const Scalar& scalar) const {
    return scalar.choices.empty() ? scalar.constraint.range()
                                  : available_names(scalar.choices, " | ");
  }
  std::string operator()(const Section&) const { return ""; }
  std::string operator()(const List& list) const { return of(list.sample()); }
  std::string operator()(const Optional& optional) const {
    const std::string inner = of(optional.sample());
    return inner.empty() ? "or null" : inner + ", or null";
  }
  static std::string of(const Value& value) {
    return std::visit(Allowed{}, static_cast<const Value::variant&>(value));
  }
};

std::string comment(const Field& field) {
  const std::string allowed = Allowed::of(field.value);
  return allowed.empty() ? field.help : fmt::format("{} ({})", field.help, allowed);
}

class YamlPrinter {
 public:
  explicit YamlPrinter(Comments comments) : comments_(comments) {}

  void print(const Section& section, size_t indent) {
    const size_t column = comment_column(section, indent);
    for (const Field& field : section.fields) print_field(field, indent, column);
  }
  std::string take() { return std::move(text_); }

 private:
  void print_field(const Field& field, size_t indent, size_t column) {
    if (const Section* inner = as_section(field.value)) {
      print_section(field, *inner, indent);
    } else if (const auto* optional = std::get_if<Optional>(&field.value);
               optional && optional->has_value() && as_section(optional->sample())) {
      const Value inner_value = optional->value();
      print_section(field, std::get<Section>(inner_value), indent);
    } else if (holds_sections(field.value) && !std::get<List>(field.value).elements().empty()) {
      add_line(std::string(indent, ' ') + field.name + ":", comment(field), column);
      for (const Value& element : std::get<List>(field.value).elements()) {
        text_ += std::string(indent + 2, ' ') + "- " + flow(element) + "\n";
      }
    } else {
      add_line(leaf_line(field, indent), comment(field), column);
    }
  }

  void print_section(const Field& field, const Section& section, size_t indent) {
    if (indent == 0 && !text_.empty()) text_ += "\n";
    add_line(std::string(indent, ' ') + field.name + (section.fields.empty() ? ": {}" : ":"),
             field.help, 0);
    print(section, indent + 2);
  }

  static std::string leaf_line(const Field& field, size_t indent) {
    return fmt::format("{}{}: {}", std::string(indent, ' '), field.name, flow(field.value));
  }

  // Comments of a section stand in one column, past all but its longest lines.
  static size_t comment_column(const Section& section, size_t indent) {
    constexpr size_t kFurthest = 40;
    size_t column = 0;
    for (const Field& field : section.fields) {
      if (as_section(field.value) || holds_sections(field.value)) continue;
      column = std::max(column, leaf_line(field, indent).size());
    }
    return std::min(column, kFurthest);
  }

  void add_line(std::string line, const std::string& remark, size_t column) {
    if (comments_ == Comments::help && !remark.empty()) {
      line.resize(std::max(line.size(), column), ' ');
      line += "  # " + remark;
    }
    text_ += line + "\n";
  }

  Comments comments_;
  std::string text_;
};

// "a number > 0", "a list of text": what a key takes.
struct TypeText {
  std::string operator()(const Scalar& scalar) const {
    return expected(scalar.type, scalar.constraint, scalar.choices);
  }
  std::string operator()(const Section& section) const {
    return fmt::format("{{{}}}",
                       joined(section.fields, [](const Field& field) { return field.name; }));
  }
  std::string operator()(const List& list) const {
    return fmt::format("a list, each {}", of(list.sample()));
  }
  std::string operator()(const Optional& optional) const {
    return of(optional.sample()) + " or null";
  }
  static std::string of(const Value& value) {
    return std::visit(TypeText{}, static_cast<const Value::variant&>(value));
  }
};

void add_help(const Section& section, const std::string& prefix, std::string& text) {
  for (const Field& field : section.fields) {
    const std::string key = prefix + field.name;
    if (const Section* inner = as_section(field.value)) {
      text += fmt::format("\n{}: {}\n", key, field.help);
      add_help(*inner, key + ".", text);
    } else {
      text += fmt::format("  {}: {}; {}; default {}\n", key, field.help, TypeText::of(field.value),
                          flow(field.value));
    }
  }
}

}  // namespace

std::string to_yaml(const Section& root, Comments comments) {
  YamlPrinter printer(comments);
  printer.print(root, 0);
  return printer.take();
}

std::string help_text(const Section& root) {
  std::string text;
  add_help(root, "", text);
  return text;
}

}  // namespace tessera::fields
