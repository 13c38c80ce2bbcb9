// Where each key of a configuration was given, so that rules over several keys can point there too.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <utility>

#include "core/check.h"

namespace tessera {

// A rule between keys is broken; `key` is the one to blame: "model.heads".
class ConfigError : public Error {
 public:
  ConfigError(std::string key, std::string problem)
      : Error(fmt::format("{}: {}", key, problem)),
        key_(std::move(key)),
        problem_(std::move(problem)) {}
  const std::string& key() const { return key_; }
  const std::string& problem() const { return problem_; }

 private:
  std::string key_;
  std::string problem_;
};

// Throws ConfigError about `key` unless `condition` holds.
template <class... Args>
void check_key(bool condition, const std::string& key, fmt::format_string<Args...> format,
               Args&&... args) {
  if (!condition) throw ConfigError(key, fmt::format(format, std::forward<Args>(args)...));
}

struct Origin {
  std::string place;    // "configs/x.yaml:12" or "--set optimizer.lr"
  std::string set_key;  // the key a --set names; empty for a file

  // "configs/x.yaml:12: optimizer.lr: <problem>"; a --set does not name its own key twice.
  std::string message(const std::string& key, const std::string& problem) const;
};

class ConfigOrigins {
 public:
  explicit ConfigOrigins(std::string file) : file_{std::move(file), ""} {}
  void record(const std::string& key, const Origin& origin);
  // For a value that replaces all that was given inside it: a list, or none where there was a
  // value.
  void forget_inside(const std::string& key);
  // The origin of the key, else of what encloses it, else the file.
  const Origin& find(std::string key) const;
  // The error as an Error that begins with the place of its key.
  Error located(const ConfigError& error) const;

 private:
  Origin file_;
  std::map<std::string, Origin> origins_;
};

}  // namespace tessera
