#include <cmath>
#include <nlohmann/json.hpp>

#include "core/config/printer.h"

namespace tessera::fields {
namespace {

using Json = nlohmann::ordered_json;

Json schema_of(const Value& value);

void add_range(Json& schema, const Constraint& constraint) {
  if (std::isfinite(constraint.minimum)) {
    schema[constraint.above_minimum ? "exclusiveMinimum" : "minimum"] = constraint.minimum;
  }
  if (std::isfinite(constraint.maximum)) {
    schema[constraint.below_maximum ? "exclusiveMaximum" : "maximum"] = constraint.maximum;
  }
}

Json choices_schema(const std::vector<Choice>& choices) {
  Json names = Json::array();
  for (const Choice& choice : choices) {
    if (choice.unavailable.empty()) names.push_back(choice.name);
  }
  return {{"type", "string"}, {"enum", names}};
}

struct SchemaOf {
  Json operator()(const Scalar& scalar) const {
    if (!scalar.choices.empty()) return choices_schema(scalar.choices);
    if (scalar.type == ScalarType::boolean) return {{"type", "boolean"}};
    if (scalar.type == ScalarType::text) {
      Json schema{{"type", "string"}};
      if (scalar.constraint.min_length > 0) schema["minLength"] = scalar.constraint.min_length;
      return schema;
    }
    Json schema{{"type", scalar.type == ScalarType::integer ? "integer" : "number"}};
    add_range(schema, scalar.constraint);
    if (!scalar.constraint.token_suffixes) return schema;
    const Json suffixed{{"type", "string"}, {"pattern", "^[0-9]+[KMG]$"}};
    return {{"anyOf", Json::array({schema, suffixed})}};
  }

  Json operator()(const Section& section) const {
    Json properties = Json::object();
    for (const Field& field : section.fields) {
      Json property = schema_of(field.value);
      property["description"] = field.help;
      if (const auto* scalar = std::get_if<Scalar>(&field.value)) {
        property["default"] = default_of(*scalar);
      }
      properties[field.name] = property;
    }
    return {{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
  }

  Json operator()(const List& list) const {
    Json schema{{"type", "array"}, {"items", schema_of(list.sample())}};
    if (list.min_length > 0) schema["minItems"] = list.min_length;
    return schema;
  }

  Json operator()(const Optional& optional) const {
    const Json null{{"type", "null"}};
    return {{"anyOf", Json::array({schema_of(optional.sample()), null})}};
  }

 private:
  static Json default_of(const Scalar& scalar) {
    const std::string yaml = scalar.yaml();
    if (scalar.type != ScalarType::text) return Json::parse(yaml);
    return yaml.starts_with('"') ? Json::parse(yaml) : Json(yaml);
  }
};

Json schema_of(const Value& value) {
  return std::visit(SchemaOf{}, static_cast<const Value::variant&>(value));
}

}  // namespace

std::string json_schema(const Section& root, const std::string& title) {
  Json schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", title}};
  schema.update(SchemaOf{}(root));
  return schema.dump(2) + "\n";
}

}  // namespace tessera::fields
