#include "model/formats/json_object.h"

#include <cmath>

#include "model/formats/one_line.h"

namespace tessera {
namespace {

using nlohmann::json;

// A value as an error shows it. Lists and objects may be nested deeper than the stack is.
std::string shown(const json& value) {
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

}  // namespace

json parse_json_object(std::string_view text, const std::string& where) {
  json parsed = json::parse(text, nullptr, false);
  check(!parsed.is_discarded(), "{}: it is not JSON: the file is damaged or cut off", where);
  check(parsed.is_object(), "{}: it is not a JSON object", where);
  return parsed;
}

JsonObject::JsonObject(const json& object, std::string where, std::string path)
    : object_(object), where_(std::move(where)), path_(std::move(path)) {}

const json* JsonObject::find(const char* key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool JsonObject::has(const char* key) const {
  return find(key) != nullptr;
}

bool JsonObject::contains(const char* key) const {
  return object_.contains(key);
}

int64_t JsonObject::checked_integer(const char* key, const json& value, int64_t lowest,
                                    int64_t highest) const {
  if (!value.is_number_integer()) fail_at(key, "{} is not an integer", shown(value));
  const bool large = value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX);
  if (large || value.get<int64_t>() < lowest || value.get<int64_t>() > highest)
    fail_at(key, "{} is not between {} and {}", shown(value), lowest, highest);
  return value.get<int64_t>();
}

std::optional<int64_t> JsonObject::integer(const char* key, int64_t lowest, int64_t highest) const {
  const json* value = find(key);
  if (!value) return {};
  return checked_integer(key, *value, lowest, highest);
}

std::optional<double> JsonObject::number(const char* key) const {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    fail_at(key, "{} is not a number", shown(*value));
  return value->get<double>();
}

std::optional<bool> JsonObject::boolean(const char* key) const {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_boolean()) fail_at(key, "{} is neither true nor false", shown(*value));
  return value->get<bool>();
}

std::optional<std::string> JsonObject::text(const char* key) const {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_string()) fail_at(key, "{} is not a text", shown(*value));
  if (!is_one_line(value->get_ref<const std::string&>())) fail_at(key, "has control characters");
  return value->get<std::string>();
}

std::optional<JsonObject> JsonObject::object(const char* key) const {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_object()) fail_at(key, "{} is not an object", shown(*value));
  return JsonObject(*value, where_, fmt::format("{}{}.", path_, key));
}

std::vector<int64_t> JsonObject::integers(const char* key, int64_t lowest, int64_t highest) const {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_array()) return {checked_integer(key, *value, lowest, highest)};
  std::vector<int64_t> integers;
  for (const json& element : *value)
    integers.push_back(checked_integer(key, element, lowest, highest));
  return integers;
}

std::vector<std::string> JsonObject::texts(const char* key) const {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_array()) fail_at(key, "{} is not a list", shown(*value));
  std::vector<std::string> texts;
  for (const json& element : *value) {
    if (!element.is_string()) fail_at(key, "{} is not a text", shown(element));
    texts.push_back(element.get<std::string>());
  }
  return texts;
}

int64_t JsonObject::need_integer(const char* key, int64_t lowest, int64_t highest) const {
  const auto value = integer(key, lowest, highest);
  if (!value) fail_at(key, "is missing");
  return *value;
}

double JsonObject::need_number(const char* key) const {
  const auto value = number(key);
  if (!value) fail_at(key, "is missing");
  return *value;
}

}  // namespace tessera
