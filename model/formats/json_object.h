// JSON of published models, read key by key: what is wrong is one line that names file and key.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"

namespace tessera {

// Parses a text whose top is an object. Error naming `where` for anything else.
nlohmann::json parse_json_object(std::string_view text, const std::string& where);

class JsonObject {
 public:
  // `object` must outlive this; `path` is what keys begin with in errors ("rope_scaling.").
  JsonObject(const nlohmann::json& object, std::string where, std::string path = {});

  const std::string& where() const { return where_; }
  bool has(const char* key) const;       // and it is not null
  bool contains(const char* key) const;  // even as null

  // Nothing where the key is absent or null. Error for another type or, of integers, a value out
  // of [lowest, highest].
  std::optional<int64_t> integer(const char* key, int64_t lowest, int64_t highest) const;
  std::optional<double> number(const char* key) const;  // finite
  std::optional<bool> boolean(const char* key) const;
  std::optional<std::string> text(const char* key) const;
  std::optional<JsonObject> object(const char* key) const;
  // A list; a single integer is a list of one.
  std::vector<int64_t> integers(const char* key, int64_t lowest, int64_t highest) const;
  std::vector<std::string> texts(const char* key) const;

  // Error for an absent key.
  int64_t need_integer(const char* key, int64_t lowest, int64_t highest) const;
  double need_number(const char* key) const;

  // Throws "where: key `path.key`: text".
  template <class... Args>
  [[noreturn]] void fail_at(const char* key, fmt::format_string<Args...> format,
                            Args&&... args) const {
    fail("{}: {}{}: {}", where_, path_, key, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  const nlohmann::json* find(const char* key) const;
  int64_t checked_integer(const char* key, const nlohmann::json& value, int64_t lowest,
                          int64_t highest) const;

  const nlohmann::json& object_;
  std::string where_, path_;
};

}  // namespace tessera
