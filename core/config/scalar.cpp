#include "core/config/scalar.h"

#include <charconv>
#include <cmath>

#include "core/config/suggest.h"

namespace tessera::fields {
namespace {

constexpr double kExactIntegers = 9007199254740992.0;  // 2^53: every smaller integer is a double

std::optional<double> to_number(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// The power of two a suffix stands for, 0 for none.
int suffix_shift(std::string_view text) {
  if (text.ends_with('K')) return 10;
  if (text.ends_with('M')) return 20;
  return text.ends_with('G') ? 30 : 0;
}

enum class IntegerForm { valid, too_large, invalid };

IntegerForm to_integer(std::string_view text, bool suffixes, Integer& out) {
  out.negative = text.starts_with('-');
  std::string_view digits = text;
  if (text.starts_with('-') || text.starts_with('+')) digits.remove_prefix(1);
  const int shift = suffixes ? suffix_shift(digits) : 0;
  if (shift > 0) digits.remove_suffix(1);
  if (all_digits(digits)) {
    const char* end = digits.data() + digits.size();
    const auto error = std::from_chars(digits.data(), end, out.magnitude).ec;
    const uint64_t limit = (out.negative ? uint64_t{1} << 63 : UINT64_MAX) >> shift;
    if (error != std::errc() || out.magnitude > limit) return IntegerForm::too_large;
    out.magnitude <<= shift;
    return IntegerForm::valid;
  }
  const std::optional<double> number = to_number(text);  // 1e6 is an integer too
  if (!number || std::trunc(*number) != *number) return IntegerForm::invalid;
  if (std::abs(*number) >= kExactIntegers) return IntegerForm::too_large;
  out.magnitude = static_cast<uint64_t>(std::abs(*number));
  return IntegerForm::valid;
}

std::string out_of_range(std::string_view value, const std::string& allowed) {
  return fmt::format("{} is out of range; allowed is {}", value, allowed);
}

// The rule that an integer of more than 64 bits breaks: its bound, where it has one on that side.
std::string range_in_64_bits(const Constraint& constraint, bool negative) {
  const std::string range = constraint.range();
  if (range.empty()) return "a 64-bit integer";
  const bool is_open = std::isinf(negative ? constraint.minimum : constraint.maximum);
  return is_open ? range + " and a 64-bit integer" : range;
}

Problem mistyped(ScalarType type, const Constraint& constraint, const ScalarText& text) {
  return fmt::format("expected {}, got {}", expected(type, constraint), excerpt(text.text));
}

}  // namespace

Problem parse_boolean(const ScalarText& text, bool& out) {
  const bool is_true = text.text == "true" || text.text == "True" || text.text == "TRUE";
  const bool is_false = text.text == "false" || text.text == "False" || text.text == "FALSE";
  if (text.quoted || (!is_true && !is_false)) return mistyped(ScalarType::boolean, {}, text);
  out = is_true;
  return std::nullopt;
}

Problem parse_integer(const ScalarText& text, const Constraint& constraint, Integer& out) {
  const IntegerForm form = to_integer(text.text, constraint.token_suffixes, out);
  if (text.quoted || form == IntegerForm::invalid) {
    return mistyped(ScalarType::integer, constraint, text);
  }
  const double value = static_cast<double>(out.magnitude) * (out.negative ? -1 : 1);
  if (form == IntegerForm::too_large) {
    return out_of_range(text.text, range_in_64_bits(constraint, out.negative));
  }
  if (!constraint.allows(value)) return out_of_range(text.text, constraint.range());
  return std::nullopt;
}

Problem parse_number(const ScalarText& text, const Constraint& constraint, double& out) {
  const std::optional<double> value = to_number(text.text);
  if (text.quoted || !value) return mistyped(ScalarType::number, constraint, text);
  if (!constraint.allows(*value)) return out_of_range(text.text, constraint.range());
  out = *value;
  return std::nullopt;
}

Problem parse_text(const ScalarText& text, const Constraint& constraint, std::string& out) {
  if (!constraint.choices.empty()) {
    std::vector<Choice> choices;
    for (const std::string& name : constraint.choices) choices.push_back({name, ""});
    size_t index = 0;
    if (Problem problem = parse_choice(text, choices, index)) return problem;
  }
  if (text.text.size() < constraint.min_length) return "must not be empty";
  out = text.text;
  return std::nullopt;
}

Problem parse_choice(const ScalarText& text, const std::vector<Choice>& choices, size_t& out) {
  std::vector<std::string> names;
  for (size_t i = 0; i < choices.size(); ++i) {
    names.push_back(choices[i].name);
    if (choices[i].name != text.text) continue;
    if (!choices[i].unavailable.empty()) {
      return fmt::format("{} is not available in this build ({}); use {}", text.text,
                         choices[i].unavailable, available_names(choices, " or "));
    }
    out = i;
    return std::nullopt;
  }
  const std::string near = nearest_name(text.text, names);
  return fmt::format("expected {}, got {}{}", expected(ScalarType::text, {}, choices),
                     excerpt(text.text),
                     near.empty() ? "" : fmt::format("; did you mean {}?", near));
}

std::string available_names(const std::vector<Choice>& choices, std::string_view separator) {
  std::string text;
  for (const Choice& choice : choices) {
    if (!choice.unavailable.empty()) continue;
    if (!text.empty()) text += separator;
    text += choice.name;
  }
  return text;
}

std::string expected(ScalarType type, const Constraint& constraint,
                     const std::vector<Choice>& choices) {
  if (!choices.empty()) return fmt::format("one of {}", available_names(choices, ", "));
  if (type == ScalarType::boolean) return "true or false";
  if (type == ScalarType::text) return "text";
  const std::string range = constraint.range();
  return fmt::format("{}{}{}", type == ScalarType::integer ? "an integer" : "a number",
                     range.empty() ? "" : " ", range);
}

std::string yaml_text(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+";
  constexpr std::string_view kWords[] = {"null", "true", "false", "yes", "no",
                                         "on",   "off",  "y",     "n"};
  bool quote = text.empty() || text.find_first_not_of(kPlain) != std::string_view::npos ||
               std::string_view("-.+").find(text.front()) != std::string_view::npos ||
               (text.front() >= '0' && text.front() <= '9');
  for (std::string_view word : kWords) quote = quote || normalized(text) == word;
  if (!quote) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string excerpt(std::string_view text) {
  constexpr size_t kLongest = 60;
  std::string shown = "\"";
  for (const char c : text.substr(0, kLongest)) {
    shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return shown + (text.size() > kLongest ? "...\"" : "\"");
}

}  // namespace tessera::fields
