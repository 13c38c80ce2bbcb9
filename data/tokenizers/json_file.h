// Reading JSON that others wrote.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/check.h"

namespace tessera {

// Every level of a deep nest would cost a hundred times its bytes.
inline constexpr int kMaxJsonDepth = 64;

// Throws nlohmann::json::exception for what is not JSON, Error for what is nested too deeply.
inline nlohmann::json parse_json(std::string_view text) {
  using nlohmann::json;
  return json::parse(text, [](int depth, json::parse_event_t, json&) {
    check(depth <= kMaxJsonDepth, "the JSON is nested more than {} levels deep", kMaxJsonDepth);
    return true;
  });
}

// A value of a JSON file and the path of keys to it, for errors.
class JsonValue {
 public:
  explicit JsonValue(const nlohmann::json& json, std::string path = {})
      : json_(&json), path_(std::move(path)) {}

  const nlohmann::json& json() const { return *json_; }
  const std::string& path() const { return path_; }

  // Whether the object has the key, and not null.
  bool has(const char* key) const {
    const auto found = object().find(key);
    return found != object().end() && !found->is_null();
  }
  JsonValue at(const char* key) const {
    check(has(key), "{} is missing", path_of(key));
    return JsonValue((*json_)[key], path_of(key));
  }

  // Calls visit(value) for the elements of an array.
  template <class Visit>
  void for_each(Visit&& visit) const {
    check(json_->is_array(), "{} is not a list", path_);
    for (size_t i = 0; i < json_->size(); ++i) {
      visit(JsonValue((*json_)[i], fmt::format("{}[{}]", path_, i)));
    }
  }

  const std::string& text() const {
    check(json_->is_string(), "{} is not a string", path_);
    return json_->get_ref<const std::string&>();
  }
  std::string text_or(const char* key, const char* otherwise) const {
    return has(key) ? at(key).text() : otherwise;
  }
  bool flag_or(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    check(at(key).json().is_boolean(), "{} is neither true nor false", path_of(key));
    return at(key).json().get<bool>();
  }
  // A whole number in [0, 2^31).
  uint32_t number() const {
    check(json_->is_number_unsigned() && json_->get<uint64_t>() < uint64_t{1} << 31,
          "{} is not a whole number below 2^31", path_);
    return json_->get<uint32_t>();
  }

  const nlohmann::json& object() const {
    check(json_->is_object(), "{} is not an object", path_.empty() ? "the file" : path_);
    return *json_;
  }

 private:
  std::string path_of(const char* key) const { return path_.empty() ? key : path_ + "." + key; }

  const nlohmann::json* json_;
  std::string path_;
};

}  // namespace tessera
