#include "core/config/origin.h"

namespace tessera {

std::string Origin::message(const std::string& key, const std::string& problem) const {
  if (key.empty() || key == set_key) return fmt::format("{}: {}", place, problem);
  return fmt::format("{}: {}: {}", place, key, problem);
}

void ConfigOrigins::record(const std::string& key, const Origin& origin) {
  origins_.insert_or_assign(key, origin);
}

void ConfigOrigins::forget_inside(const std::string& key) {
  std::erase_if(origins_, [&](const auto& entry) {
    return entry.first.starts_with(key + '.') || entry.first.starts_with(key + '[');
  });
}

const Origin& ConfigOrigins::find(std::string key) const {
  while (!key.empty()) {
    const auto found = origins_.find(key);
    if (found != origins_.end()) return found->second;
    const size_t end = key.find_last_of(".[");
    key.resize(end == std::string::npos ? 0 : end);
  }
  return file_;
}

Error ConfigOrigins::located(const ConfigError& error) const {
  return Error(find(error.key()).message(error.key(), error.problem()));
}

}  // namespace tessera
