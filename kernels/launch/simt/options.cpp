#include "kernels/launch/simt/options.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <span>

#include "core/check.h"

namespace tessera::simt {
namespace {

template <class E>
struct Name {
  std::string_view name;
  E value;
};

constexpr Name<Schedule> kSchedules[] = {{"round_robin", Schedule::round_robin},
                                         {"uniform", Schedule::uniform},
                                         {"pct", Schedule::pct},
                                         {"by_seed", Schedule::by_seed}};
constexpr Name<AsyncDelivery> kDeliveries[] = {{"eager", AsyncDelivery::eager},
                                               {"late", AsyncDelivery::late},
                                               {"random", AsyncDelivery::random},
                                               {"by_seed", AsyncDelivery::by_seed}};
constexpr Name<Switch> kSwitches[] = {
    {"on", Switch::on}, {"off", Switch::off}, {"auto", Switch::automatic}};
constexpr Name<bool> kBools[] = {{"on", true}, {"off", false}};

struct Architecture {
  int number, shared_kib;  // that a block may have
};
// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
constexpr Architecture kArchitectures[] = {{75, 64}, {80, 163}, {86, 99}, {89, 99}, {90, 227}};

template <class E>
E value_of(std::string_view key, std::string_view text, std::span<const Name<E>> names) {
  std::string known;
  for (const Name<E>& n : names) {
    if (n.name == text) return n.value;
    known += (known.empty() ? "" : ", ") + std::string(n.name);
  }
  fail("TESSERA_SIMT: {}={} is unknown; use one of {}", key, text, known);
}

template <class E>
std::string_view name_of(E value, std::span<const Name<E>> names) {
  for (const Name<E>& n : names) {
    if (n.value == value) return n.name;
  }
  return "?";
}

template <class T>
T number_of(std::string_view key, std::string_view text, T least) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && end == text.data() + text.size() && value >= least,
        "TESSERA_SIMT: {}={} is not a whole number of at least {}", key, text, least);
  return value;
}

void set_architecture(std::string_view text, Options& o) {
  const int number = number_of("architecture", text, 0);
  const auto* found = std::ranges::find(kArchitectures, number, &Architecture::number);
  check(found != std::end(kArchitectures),
        "TESSERA_SIMT: architecture={} is unknown; use one of 75, 80, 86, 89, 90", number);
  o.architecture = number;
  o.shared_limit = found->shared_kib << 10;
}

void set_option(std::string_view key, std::string_view value, Options& o) {
  if (key == "seed") {
    o.seed = number_of<uint64_t>(key, value, 0);
  } else if (key == "schedule") {
    o.schedule = value_of<Schedule>(key, value, kSchedules);
  } else if (key == "async") {
    o.async = value_of<AsyncDelivery>(key, value, kDeliveries);
  } else if (key == "race") {
    o.race = value_of<Switch>(key, value, kSwitches);
  } else if (key == "bank") {
    o.bank = value_of<bool>(key, value, kBools);
  } else if (key == "workers") {
    o.workers = number_of(key, value, 0);
  } else if (key == "resident") {
    o.resident = number_of(key, value, 1);
  } else if (key == "architecture") {
    set_architecture(value, o);
  } else if (key == "shared_limit") {
    o.shared_limit = number_of(key, value, 0);
    check_shared_limit(o);
  } else if (key == "ends") {
    o.ends = number_of(key, value, 0);
  } else {
    fail(
        "TESSERA_SIMT: key '{}' is unknown; use seed, schedule, async, race, bank, workers, "
        "resident, architecture, shared_limit or ends",
        key);
  }
}

}  // namespace

void check_shared_limit(const Options& o) {
  check(o.shared_limit >= 0 && o.shared_limit <= kMostSharedBytes,
        "TESSERA_SIMT: shared_limit={} is not in 0..{}, what GPUs give a block", o.shared_limit,
        kMostSharedBytes);
}

void parse_options(std::string_view text, Options& options) {
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const size_t equals = item.find('=');
    check(equals != std::string_view::npos, "TESSERA_SIMT: '{}' is not of the form key=value",
          item);
    set_option(item.substr(0, equals), item.substr(equals + 1), options);
  }
}

Options options_from_environment() {
  Options options;
  if (const char* text = std::getenv("TESSERA_SIMT")) parse_options(text, options);
  return options;
}

std::string to_text(const Options& o) {
  return fmt::format(
      "seed={},schedule={},async={},race={},bank={},workers={},resident={},architecture={},"
      "shared_limit={},ends={}",
      o.seed, name_of<Schedule>(o.schedule, kSchedules),
      name_of<AsyncDelivery>(o.async, kDeliveries), name_of<Switch>(o.race, kSwitches),
      name_of<bool>(o.bank, kBools), o.workers, o.resident, o.architecture, o.shared_limit, o.ends);
}

}  // namespace tessera::simt
