// The nearest valid name to a mistyped one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tessera::fields {

// Lower case, with '-' as '_': spellings that mean the same name.
std::string normalized(std::string_view name);

// Insertions, deletions, substitutions and swaps of neighbours that turn one name into the other
// (optimal string alignment distance).
size_t edit_distance(std::string_view a, std::string_view b);

// The largest distance at which a name still passes for a slip of `name`.
size_t plausible_distance(std::string_view name);

// The name nearest to `name`, or empty when none is near enough.
std::string nearest_name(std::string_view name, const std::vector<std::string>& names);

}  // namespace tessera::fields
