// The rules of the house that no compiler checks. Each takes files and returns what breaks it.
#pragma once

#include <string>
#include <vector>

#include "tests/lint/source_tree.h"

namespace tessera::lint {

struct Violation {
  std::string path;
  size_t line = 0;  // from 1; 0 where the whole file is meant
  std::string message;
};
using Violations = std::vector<Violation>;

// "path:line: message" a line.
std::string to_text(const Violations& violations);

// Includes in quotes are paths from the root to files that exist, and point only downwards:
// core <- kernels <- model <- train; data sees core; tests see all. CUDA headers only where device
// code is launched.
Violations check_includes(const SourceTree& tree);

// .cu and .cuh files only below kernels/ and tests/kernels/, and only with device code in them, or
// with that of a .cuh file that they include.
Violations check_device_code(const SourceTree& tree);

// Files of no known kind (programs, object files) only below tests/golden/.
Violations check_kinds(const SourceTree& tree);

// Lines of at most 100 columns (not in prose), C++ files of at most 500 lines.
Violations check_sizes(const SourceTree& tree);

// Functions of at most 60 lines, from signature to closing brace. A scan of braces, not a parser:
// bodies at namespace or class level are counted, whatever is inside them belongs to them.
Violations check_functions(const SourceTree& tree);

// No notes about unfinished work.
Violations check_words(const SourceTree& tree);

// Headers begin with `#pragma once` after their comment; other files do not have it.
Violations check_pragma_once(const SourceTree& tree);

}  // namespace tessera::lint
