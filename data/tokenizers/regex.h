// The regular expressions of tokenizer files, run by PCRE2.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace tessera {

class Regex {
 public:
  // `pattern` is in the syntax of Oniguruma, which tokenizer files are written for. Throws Error
  // for one that PCRE2 does not take or would read differently.
  explicit Regex(const std::string& pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // Calls visit(begin, end) for the matches in `text`, which must be valid UTF-8, in order. Throws
  // Error where PCRE2 gives up (a pattern that tries too many ways).
  void for_each_match(std::string_view text,
                      const std::function<void(size_t begin, size_t end)>& visit) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Oniguruma's `pattern` in PCRE2's syntax. They differ in what \s and \w mean.
std::string to_pcre2(std::string_view pattern);

}  // namespace tessera
