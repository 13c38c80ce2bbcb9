#include "data/tokenizers/pre_tokenizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <optional>

#include "data/tokenizers/regex.h"
#include "data/utf8.h"

namespace tessera {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";

// A pattern of known effect: each begins a word at a space, line feed or comma after a letter or an
// ASCII digit.
bool is_known(std::string_view pattern) {
  return pattern == patterns::kGpt2 || pattern == patterns::kLlama3 || pattern == patterns::kQwen2;
}

// Words are the matches and what lies between them.
class SplitIsolated final : public Splitting {
 public:
  explicit SplitIsolated(const std::string& pattern)
      : pattern_(pattern), known_(is_known(pattern)) {}

  void split(std::string_view text, Place, const WordVisitor& visit) const override {
    size_t done = 0;
    pattern_.for_each_match(text, [&](size_t begin, size_t end) {
      if (done < begin) visit(text.substr(done, begin - done));
      if (begin < end) visit(text.substr(begin, end - begin));
      done = end;
    });
    if (done < text.size()) visit(text.substr(done));
  }
  AtCut at_cut() const override { return known_ ? AtCut::splits : AtCut::unknown; }

 private:
  Regex pattern_;
  bool known_;
};

struct Stretch {
  size_t begin, end;
  bool match;
};

// The other behaviours, which join matches and what lies between them, or drop the matches.
enum class Behavior : uint8_t { removed, merged_with_previous, merged_with_next, contiguous };

class SplitJoining final : public Splitting {
 public:
  SplitJoining(const std::string& pattern, Behavior behavior, bool invert)
      : pattern_(pattern), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, Place, const WordVisitor& visit) const override {
    std::vector<Stretch> stretches;
    size_t done = 0;
    pattern_.for_each_match(text, [&](size_t begin, size_t end) {
      if (done < begin) stretches.push_back({done, begin, invert_});
      stretches.push_back({begin, end, !invert_});
      done = end;
    });
    if (done < text.size()) stretches.push_back({done, text.size(), invert_});
    for (const Stretch& word : join(stretches)) {
      if (word.begin < word.end) visit(text.substr(word.begin, word.end - word.begin));
    }
  }

 private:
  std::vector<Stretch> join(std::vector<Stretch> stretches) const {
    const bool backwards = behavior_ == Behavior::merged_with_next;
    if (backwards) std::ranges::reverse(stretches);
    std::vector<Stretch> words;
    bool previous = false;
    for (const Stretch& stretch : stretches) {
      const bool joins = behavior_ == Behavior::contiguous ? stretch.match == previous
                                                           : stretch.match && !previous;
      previous = stretch.match;
      if (behavior_ == Behavior::removed) {
        if (!stretch.match) words.push_back(stretch);
      } else if (joins && !words.empty()) {
        words.back().begin = std::min(words.back().begin, stretch.begin);
        words.back().end = std::max(words.back().end, stretch.end);
      } else {
        words.push_back(stretch);
      }
    }
    if (backwards) std::ranges::reverse(words);
    return words;
  }

  Regex pattern_;
  Behavior behavior_;
  bool invert_;
};

// Puts a space before what does not begin with one.
class PrefixSpace final : public Splitting {
 public:
  void split(std::string_view text, Place place, const WordVisitor& visit) const override {
    if (!place.begins_segment || text.starts_with(' ')) return visit(text);
    std::string prefixed(" ");
    visit(prefixed += text);
  }
  AtCut at_cut() const override { return AtCut::keeps; }
};

class Digits final : public Splitting {
 public:
  explicit Digits(bool individual) : individual_(individual) {}

  void split(std::string_view text, Place, const WordVisitor& visit) const override {
    size_t done = 0;
    bool in_digits = false;
    for (size_t i = 0; i < text.size();) {
      const Utf8Sequence next = first_utf8(text.substr(i));
      const bool digit = is_digit(next.code_point);
      if (done < i && (digit != in_digits || (digit && individual_))) {
        visit(text.substr(done, i - done));
        done = i;
      }
      in_digits = digit;
      i += next.length;
    }
    visit(text.substr(done));
  }
  AtCut at_cut() const override { return AtCut::keeps; }

 private:
  static bool is_digit(uint32_t code_point) {
    if (code_point < 0x80) return code_point >= '0' && code_point <= '9';
    const utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(code_point));
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
  }

  bool individual_;
};

// Spaces become marks, one is put before the text, and words may begin at them.
class Metaspace final : public Splitting {
 public:
  enum class Prepend : uint8_t { never, first, always };
  Metaspace(std::string mark, Prepend prepend, bool splits)
      : mark_(std::move(mark)), prepend_(prepend), splits_(splits) {}

  void split(std::string_view text, Place place, const WordVisitor& visit) const override {
    std::string marked;
    for (char c : text) c == ' ' ? marked += mark_ : marked += c;
    const bool prepend = prepend_ == Prepend::always  ? place.begins_segment
                         : prepend_ == Prepend::first ? place.begins_document
                                                      : false;
    if (prepend && !marked.starts_with(mark_)) marked.insert(0, mark_);
    std::string_view rest = marked;
    while (splits_) {
      const size_t next = rest.find(mark_, rest.starts_with(mark_) ? mark_.size() : 0);
      if (next == std::string_view::npos) break;
      if (next > 0) visit(rest.substr(0, next));
      rest.remove_prefix(next);
    }
    visit(rest);
  }
  AtCut at_cut() const override { return splits_ ? AtCut::splits_at_space : AtCut::keeps; }

 private:
  std::string mark_;
  Prepend prepend_;
  bool splits_;
};

class SpaceMarks final : public Splitting {
 public:
  void split(std::string_view text, Place, const WordVisitor& visit) const override {
    size_t done = 0;
    for (size_t at = 0; (at = text.find(kSpaceMark, at)) != std::string_view::npos;) {
      if (at > done && !text.substr(done, at - done).ends_with(kSpaceMark)) {
        visit(text.substr(done, at - done));
        done = at;
      }
      at += kSpaceMark.size();
    }
    visit(text.substr(done));
  }
  AtCut at_cut() const override { return AtCut::splits_at_space; }
};

std::string escaped(std::string_view text) {
  std::string pattern;
  for (char c : text) {
    if (std::string_view(R"(\^$.[]|()?*+{}-#)").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

std::unique_ptr<Splitting> parse_split(const JsonValue& value) {
  const JsonValue given = value.at("pattern");
  const std::string pattern =
      given.has("Regex") ? given.at("Regex").text() : escaped(given.at("String").text());
  const std::string& behavior = value.at("behavior").text();
  const bool invert = value.flag_or("invert", false);
  if (behavior == "Isolated") return std::make_unique<SplitIsolated>(pattern);
  if (behavior == "Removed") {
    return std::make_unique<SplitJoining>(pattern, Behavior::removed, invert);
  }
  if (behavior == "MergedWithPrevious") {
    return std::make_unique<SplitJoining>(pattern, Behavior::merged_with_previous, invert);
  }
  if (behavior == "MergedWithNext") {
    return std::make_unique<SplitJoining>(pattern, Behavior::merged_with_next, invert);
  }
  check(behavior == "Contiguous", "{}.behavior '{}' is not known", value.path(), behavior);
  return std::make_unique<SplitJoining>(pattern, Behavior::contiguous, invert);
}

// Such a space goes before every piece of the step before it, where ours goes before the text.
void check_first(const JsonValue& value, const PreTokenizer& result) {
  check(result.steps.empty(),
        "{}: {} puts a space before its text, which is supported in the first step only",
        value.path(), value.at("type").text());
}

std::unique_ptr<Splitting> parse_metaspace(const JsonValue& value, const PreTokenizer& result) {
  const bool older = value.flag_or("add_prefix_space", true);
  const std::string prepend = value.text_or("prepend_scheme", older ? "always" : "never");
  const auto scheme = prepend == "always"  ? Metaspace::Prepend::always
                      : prepend == "first" ? Metaspace::Prepend::first
                                           : Metaspace::Prepend::never;
  check(scheme != Metaspace::Prepend::never || prepend == "never",
        "{}.prepend_scheme '{}' is not known", value.path(), prepend);
  if (scheme == Metaspace::Prepend::always) check_first(value, result);
  std::string mark = value.text_or("replacement", "\u2581");
  check(!mark.empty(), "{}.replacement is empty", value.path());
  return std::make_unique<Metaspace>(std::move(mark), scheme, value.flag_or("split", true));
}

void parse_into(const JsonValue& value, PreTokenizer& result) {
  check(!result.byte_level, "{}: nothing may follow ByteLevel", value.path());
  const std::string& type = value.at("type").text();
  if (type == "Sequence") {
    value.at("pretokenizers").for_each([&](const JsonValue& v) { parse_into(v, result); });
  } else if (type == "Split") {
    result.steps.push_back(parse_split(value));
  } else if (type == "Digits") {
    result.steps.push_back(std::make_unique<Digits>(value.flag_or("individual_digits", false)));
  } else if (type == "Metaspace") {
    result.steps.push_back(parse_metaspace(value, result));
  } else if (type == "ByteLevel") {
    if (value.flag_or("add_prefix_space", true)) {
      check_first(value, result);
      result.steps.push_back(std::make_unique<PrefixSpace>());
    }
    if (value.flag_or("use_regex", true)) {
      result.steps.push_back(std::make_unique<SplitIsolated>(patterns::kGpt2));
    }
    result.byte_level = true;
  } else {
    fail(
        "{}: pre-tokenizer '{}' is not supported; supported are ByteLevel, Split, Digits, "
        "Metaspace and Sequence",
        value.path(), type);
  }
}

// GGUF's names of rules, by the types in the file and the pattern of the last split.
std::string gguf_name(const JsonValue& value) {
  std::string types, pattern;
  const auto visit = [&](const JsonValue& step) {
    types += step.at("type").text() + " ";
    if (step.has("pattern") && step.at("pattern").has("Regex")) {
      pattern = step.at("pattern").at("Regex").text();
    }
  };
  value.at("type").text() == "Sequence" ? value.at("pretokenizers").for_each(visit) : visit(value);
  if (types == "ByteLevel ") return "gpt-2";
  if (types == "Digits ByteLevel ") return "smollm";
  if (types != "Split ByteLevel ") return {};
  return pattern == patterns::kLlama3 ? "llama-bpe" : pattern == patterns::kQwen2 ? "qwen2" : "";
}

}  // namespace

void PreTokenizer::split(std::string_view text, Place place, const WordVisitor& visit,
                         size_t step) const {
  if (step == steps.size()) return visit(text);
  if (step + 1 == steps.size()) return steps[step]->split(text, place, visit);
  steps[step]->split(text, place, [&](std::string_view piece) {
    split(piece, place, visit, step + 1);
    place = {};
  });
}

PreTokenizer parse_pre_tokenizer(const JsonValue& value) {
  PreTokenizer result;
  parse_into(value, result);
  result.gguf_name = gguf_name(value);
  return result;
}

std::unique_ptr<Splitting> split_at_space_marks() {
  return std::make_unique<SpaceMarks>();
}

}  // namespace tessera
