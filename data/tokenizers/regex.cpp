#include "data/tokenizers/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "core/check.h"
#include "data/tokenizers/word_cache.h"

namespace tessera {
namespace {

constexpr size_t kMaxPatternBytes = 8192;
constexpr uint32_t kMatchLimit = 10'000'000;  // PCRE2's own default
constexpr size_t kJitStackBytes = size_t{1} << 20;

// The property White_Space of Unicode, and what Oniguruma calls a word.
constexpr std::string_view kSpaces =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kWords = R"(\p{L}\p{M}\p{Nd}\p{Pc})";

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

// What one match needs; a thread's own.
struct MatchState {
  MatchState()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kJitStackBytes / 32, kJitStackBytes, nullptr)) {
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_match_limit(context, kMatchLimit);
  }
  ~MatchState() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  MatchState(const MatchState&) = delete;
  MatchState& operator=(const MatchState&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

size_t after_character(std::string_view text, size_t at) {
  for (++at; at < text.size() && (uint8_t(text[at]) & 0xC0) == 0x80; ++at) {
  }
  return at;
}

std::string expanded_class(char letter, bool in_class) {
  const std::string_view set = letter == 's' || letter == 'S' ? kSpaces : kWords;
  const bool negated = letter == 'S' || letter == 'W';
  check(!in_class || !negated, "\\{} within [] is not supported", letter);
  if (in_class) return std::string(set);
  return fmt::format("[{}{}]", negated ? "^" : "", set);
}

}  // namespace

std::string to_pcre2(std::string_view pattern) {
  std::string result;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      check(next != 'h' && next != 'H', "\\{} is not supported", next);
      if (std::string_view("sSwW").find(next) != std::string_view::npos) {
        result += expanded_class(next, in_class);
      } else {
        result.append({c, next});
      }
      continue;
    }
    const std::string_view rest = pattern.substr(i);
    check(!in_class || (!rest.starts_with("&&") && !(c == '[' && !rest.starts_with("[:"))),
          "sets within [] are not supported");
    if (in_class && rest.starts_with("[:")) {
      const size_t end = std::min(rest.find(":]"), rest.size() - 1);
      result += rest.substr(0, end + 1);
      i += end;
      continue;
    }
    if (c == '[') {
      in_class = true;
      // A bracket at the beginning is a member.
      const size_t members = rest.starts_with("[^") ? 2 : 1;
      const size_t count = members + (rest.substr(members).starts_with(']') ? 1 : 0);
      result += rest.substr(0, count);
      i += count - 1;
      continue;
    }
    if (c == ']') in_class = false;
    result.push_back(c);
  }
  return result;
}

struct Regex::Impl {
  ~Impl() { pcre2_code_free(code); }

  // The end of PCRE2's patience is an error; true if there is a match from `at` on.
  bool match(std::string_view text, size_t at, MatchState& state) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    int count = PCRE2_ERROR_JIT_STACKLIMIT;
    if (jit) {
      count = pcre2_jit_match(code, subject, text.size(), at, 0, state.data, state.context);
    }
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
      count = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                          state.data, state.context);
    }
    check(count >= 0 || count == PCRE2_ERROR_NOMATCH, "the pattern '{}' fails: {}", pattern,
          message_of(count));
    return count >= 0;
  }

  std::string pattern;
  pcre2_code* code = nullptr;
  bool jit = false;
  Pool<MatchState> states;
};

Regex::Regex(const std::string& pattern) : impl_(std::make_unique<Impl>()) {
  check(pattern.size() <= kMaxPatternBytes, "a pattern of {} bytes; the most is {}", pattern.size(),
        kMaxPatternBytes);
  impl_->pattern = pattern;
  const std::string translated = to_pcre2(pattern);
  int error = 0;
  size_t offset = 0;
  // Oniguruma's ^ and $ are those of lines.
  impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                              &error, &offset, nullptr);
  check(impl_->code != nullptr, "the pattern '{}' is not supported: {}", pattern,
        message_of(error));
  impl_->jit = pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE) == 0;
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

void Regex::for_each_match(std::string_view text,
                           const std::function<void(size_t begin, size_t end)>& visit) const {
  const auto state = impl_->states.lend();
  const size_t* range = pcre2_get_ovector_pointer(state->data);
  size_t last_end = std::string_view::npos;
  for (size_t at = 0; at <= text.size() && impl_->match(text, at, *state);) {
    // With \K a match may begin after its end.
    const size_t end = range[1], begin = std::min(range[0], end);
    if (begin < end || begin != last_end) visit(begin, end);
    last_end = end;
    at = begin < end ? end : after_character(text, end);
  }
}

}  // namespace tessera
