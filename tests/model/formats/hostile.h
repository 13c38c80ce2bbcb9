// Files of others with mistakes that a random number chose.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace tessera::test {

struct HostileResult {
  int64_t refused = 0;   // ended with an Error
  int64_t accepted = 0;  // mistakes in places that do not matter, such as a weight's bits
};

// Reads `count` mutations of the file `name` of the model in `folder`: cut off, bits flipped, bytes
// or 64-bit numbers replaced, parts repeated or removed, digits of its text changed. The folder is
// copied; mutation i depends on (name, i) alone. Fails the running test where a reading throws
// something else than Error of one line, or allocates a block larger than the model's files (or
// 512 bytes, where these are shorter).
HostileResult read_mutations(const std::filesystem::path& folder, const std::string& name,
                             int64_t count);

}  // namespace tessera::test
