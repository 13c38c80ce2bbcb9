#include "data/tokenizers/normalizer.h"

#include <utf8proc.h>

#include <cctype>
#include <cstdlib>
#include <map>

#include "data/tokenizers/regex.h"
#include "data/utf8.h"

namespace tessera {
namespace {

struct FreeMemory {
  void operator()(utf8proc_uint8_t* memory) const { std::free(memory); }
};

// NFC and its like. ASCII is as it is, unless what follows composes with it.
class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(int options) : options_(options | UTF8PROC_STABLE) {}

  std::string apply(std::string_view text, bool) const override {
    const auto ascii = [&](size_t i) { return uint8_t(text[i]) < 0x80; };
    std::string result;
    result.reserve(text.size());
    size_t done = 0;
    for (size_t i = 0; i < text.size();) {
      if (ascii(i)) {
        ++i;
        continue;
      }
      const size_t begin = i > done ? i - 1 : i;
      while (i < text.size() && !ascii(i)) ++i;
      result += text.substr(done, begin - done);
      append_form(text.substr(begin, i - begin), result);
      done = i;
    }
    return result += text.substr(done);
  }

 private:
  void append_form(std::string_view text, std::string& out) const {
    utf8proc_uint8_t* mapped = nullptr;
    const auto size =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                     utf8proc_ssize_t(text.size()), &mapped, utf8proc_option_t(options_));
    const std::unique_ptr<utf8proc_uint8_t, FreeMemory> owner(mapped);
    check(size >= 0, "Unicode normalization fails: {}", utf8proc_errmsg(size));
    out.append(reinterpret_cast<const char*>(mapped), size_t(size));
  }

  int options_;
};

class Lowercase final : public Normalizer {
 public:
  std::string apply(std::string_view text, bool) const override {
    std::string result;
    while (!text.empty()) {
      const Utf8Sequence next = first_utf8(text);
      if (next.code_point == 0x130) {
        result += "i\u0307";  // the only character whose lower case is two
      } else {
        append_utf8(uint32_t(utf8proc_tolower(utf8proc_int32_t(next.code_point))), result);
      }
      text.remove_prefix(next.length);
    }
    return result;
  }
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string apply(std::string_view text, bool begins) const override {
    return begins && !text.empty() ? prefix_ + std::string(text) : std::string(text);
  }

 private:
  std::string prefix_;
};

class ReplaceText final : public Normalizer {
 public:
  ReplaceText(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  std::string apply(std::string_view text, bool) const override {
    std::string result;
    for (size_t at; (at = text.find(pattern_)) != std::string_view::npos;) {
      result.append(text.substr(0, at)).append(content_);
      text.remove_prefix(at + pattern_.size());
    }
    return result += text;
  }
  bool is_local() const override {
    if (pattern_ == " ") return content_ == "\u2581";
    const bool beside_cuts =
        std::isalnum(uint8_t(pattern_[0])) || pattern_ == "\n" || pattern_ == ",";
    return pattern_.size() == 1 && !beside_cuts;
  }

 private:
  std::string pattern_, content_;
};

class ReplaceMatches final : public Normalizer {
 public:
  ReplaceMatches(const std::string& pattern, std::string content)
      : pattern_(pattern), content_(std::move(content)) {}

  std::string apply(std::string_view text, bool) const override {
    std::string result;
    size_t done = 0;
    pattern_.for_each_match(text, [&](size_t begin, size_t end) {
      result.append(text.substr(done, begin - done)).append(content_);
      done = end;
    });
    return result += text.substr(done);
  }
  bool is_local() const override { return false; }

 private:
  Regex pattern_;
  std::string content_;
};

std::unique_ptr<Normalizer> parse_replace(const JsonValue& value) {
  const JsonValue pattern = value.at("pattern");
  std::string content = value.at("content").text();
  if (pattern.has("Regex")) {
    return std::make_unique<ReplaceMatches>(pattern.at("Regex").text(), std::move(content));
  }
  std::string text = pattern.at("String").text();
  check(!text.empty(), "{}.String is empty", pattern.path());
  return std::make_unique<ReplaceText>(std::move(text), std::move(content));
}

void parse_into(const JsonValue& value, std::vector<std::unique_ptr<Normalizer>>& steps) {
  static const std::map<std::string_view, int> kForms{
      {"NFC", UTF8PROC_COMPOSE},
      {"NFD", UTF8PROC_DECOMPOSE},
      {"NFKC", UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
      {"NFKD", UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
  const std::string& type = value.at("type").text();
  if (type == "Sequence") {
    value.at("normalizers").for_each([&](const JsonValue& step) { parse_into(step, steps); });
  } else if (const auto form = kForms.find(type); form != kForms.end()) {
    steps.push_back(std::make_unique<UnicodeForm>(form->second));
  } else if (type == "Lowercase") {
    steps.push_back(std::make_unique<Lowercase>());
  } else if (type == "Prepend") {
    steps.push_back(std::make_unique<Prepend>(value.at("prepend").text()));
  } else if (type == "Replace") {
    steps.push_back(parse_replace(value));
  } else {
    fail(
        "{}: normalizer '{}' is not supported; supported are NFC, NFD, NFKC, NFKD, Lowercase, "
        "Prepend, Replace and Sequence",
        value.path(), type);
  }
}

}  // namespace

std::vector<std::unique_ptr<Normalizer>> parse_normalizers(const JsonValue& value) {
  std::vector<std::unique_ptr<Normalizer>> steps;
  parse_into(value, steps);
  return steps;
}

}  // namespace tessera
