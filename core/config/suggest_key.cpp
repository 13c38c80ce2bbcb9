#include "core/config/suggest_key.h"

#include <fmt/format.h>

#include "core/config/suggest.h"

namespace tessera::fields {
namespace {

// The first key below `section` named exactly `name`, or empty.
std::string key_named(const Section& section, const std::string& section_key,
                      const std::string& name) {
  for (const Field& field : section.fields) {
    const std::string key =
        section_key.empty() ? field.name : fmt::format("{}.{}", section_key, field.name);
    if (field.name == name) return key;
    if (const auto* inner = std::get_if<Section>(&field.value)) {
      const std::string found = key_named(*inner, key, name);
      if (!found.empty()) return found;
    }
  }
  return "";
}

// "optim" and "eval" are short for optimizer and evaluation.
std::string name_beginning_with(const Section& section, const std::string& start) {
  constexpr size_t kShortest = 3;
  if (start.size() < kShortest) return "";
  for (const Field& field : section.fields) {
    if (field.name.starts_with(start)) return field.name;
  }
  return "";
}

}  // namespace

std::string unknown_key(const Section& root, const Section& section, const std::string& section_key,
                        const std::string& name) {
  const std::string wanted = normalized(name);
  std::vector<std::string> siblings;
  for (const Field& field : section.fields) siblings.push_back(field.name);
  std::string nearest = nearest_name(name, siblings);
  if (nearest.empty()) nearest = name_beginning_with(section, wanted);
  const std::string elsewhere = key_named(root, "", wanted);
  const bool is_respelling = !nearest.empty() && normalized(nearest) == wanted;
  if (!elsewhere.empty() && !is_respelling) {
    return fmt::format("unknown key; did you mean {}?", elsewhere);
  }
  if (nearest.empty()) {
    return fmt::format("unknown key; {} has {}", section_key.empty() ? "the file" : section_key,
                       field_names(section));
  }
  return fmt::format("unknown key; did you mean {}{}{}?", section_key,
                     section_key.empty() ? "" : ".", nearest);
}

std::string field_names(const Section& section) {
  std::string names;
  for (const Field& field : section.fields) {
    if (!names.empty()) names += ", ";
    names += field.name;
  }
  return names;
}

}  // namespace tessera::fields
