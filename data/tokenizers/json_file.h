// Reading JSON that others wrote.
#pragma once

#include <nlohmann/json.hpp>
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

}  // namespace tessera
