// Where in a kernel something happens, and errors that say so.
#pragma once

#include <string>

#include "core/check.h"

namespace tessera::simt {

// A source line, or the address of an instrumented access that is looked up when an error names it.
struct Site {
  const char* file;
  int line;

  // A constexpr function, since GCC folds a brace-initialised default argument at its declaration.
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  static Site of_code(const void* address) {
    return {static_cast<const char*>(address), kCodeAddress};
  }
  bool is_code() const { return line == kCodeAddress; }

 private:
  static constexpr int kCodeAddress = -1;
};

// "rms_norm.cu:42".
std::string describe(Site site);

// Throws "rms_norm.cu:42: <message> [block (1, 0, 0), thread 37 (warp 1, lane 5)]".
[[noreturn]] void throw_at(Site site, const std::string& message);

template <class... Args>
[[noreturn]] [[gnu::noinline, gnu::cold]] void fail_at(Site site,
                                                       fmt::format_string<Args...> format,
                                                       Args&&... args) {
  throw_at(site, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tessera::simt
