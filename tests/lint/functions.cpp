#include <algorithm>
#include <cctype>

#include "tests/lint/rules.h"

namespace tessera::lint {
namespace {

constexpr size_t kFunctionLines = 60;

enum class Scope { outer, function, other };  // outer: a namespace or a type

bool begins_with_word(std::string_view text, std::string_view word) {
  return text.starts_with(word) && (text.size() == word.size() ||
                                    (!std::isalnum(text[word.size()]) && text[word.size()] != '_'));
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) {
    text.remove_suffix(1);
  }
  return text;
}

// Without a leading `template <...>`.
std::string_view without_template(std::string_view text) {
  if (!begins_with_word(text, "template")) return text;
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    depth += text[i] == '<' ? 1 : 0;
    if (text[i] == '>' && --depth == 0) return trim(text.substr(i + 1));
  }
  return text;
}

// What a brace opens, from the text between it and the statement before.
Scope classify(std::string_view head) {
  head = without_template(trim(head));
  for (const std::string_view word :
       {"namespace", "inline namespace", "extern", "class", "struct", "union", "enum"}) {
    if (begins_with_word(head, word)) return Scope::outer;
  }
  const bool has_parameters = head.find('(') != std::string_view::npos;
  return has_parameters && !head.ends_with('=') ? Scope::function : Scope::other;
}

// Walks over braces and reports functions that are too long.
class FunctionScan {
 public:
  FunctionScan(const SourceFile& file, Violations& found)
      : file_(file), code_(blank_literals(file.text)), found_(found) {
    drop_directives();
  }

  void run() {
    for (size_t i = 0; i < code_.size(); ++i) {
      if (code_[i] == '{') {
        open(i);
      } else if (code_[i] == '}') {
        close(i);
      } else if (code_[i] == ';' && parentheses(i) == 0) {
        statement_ = i + 1;
      } else if (code_[i] == ':' && is_access_label(i)) {
        statement_ = i + 1;
      }
    }
  }

 private:
  struct Open {
    Scope scope;
    bool argument;  // the statement goes on behind the closing brace
    size_t begin;
  };

  // Preprocessor lines hold no bodies of ours.
  void drop_directives() {
    bool continued = false;
    for (size_t i = 0; i < code_.size();) {
      const size_t end = std::min(code_.find('\n', i), code_.size());
      const std::string_view line = std::string_view(code_).substr(i, end - i);
      const bool directive = continued || trim(line).starts_with('#');
      continued = directive && line.ends_with('\\');
      if (directive) std::fill(code_.begin() + long(i), code_.begin() + long(end), ' ');
      i = end + 1;
    }
  }

  bool in_body() const { return !open_.empty() && open_.back().scope != Scope::outer; }

  int parentheses(size_t end) const {
    const auto first = code_.begin() + long(statement_), last = code_.begin() + long(end);
    return int(std::count(first, last, '(') - std::count(first, last, ')'));
  }

  bool is_access_label(size_t i) const {
    if (in_body()) return false;
    const std::string_view head = trim(std::string_view(code_).substr(statement_, i - statement_));
    return head == "public" || head == "private" || head == "protected";
  }

  void open(size_t i) {
    const std::string_view head = std::string_view(code_).substr(statement_, i - statement_);
    const bool argument = parentheses(i) > 0;  // f(Shape shape = {})
    const Scope scope = in_body() || argument ? Scope::other : classify(head);
    open_.push_back({scope, argument, code_.find_first_not_of(" \n", statement_)});
    statement_ = i + 1;
  }

  void close(size_t i) {
    statement_ = i + 1;
    if (open_.empty()) return;
    const Open opened = open_.back();
    open_.pop_back();
    if (opened.argument) statement_ = opened.begin;
    if (opened.scope != Scope::function) return;
    const size_t lines = 1 + newlines(opened.begin, i);
    if (lines > kFunctionLines) {
      found_.push_back({file_.path, 1 + newlines(0, opened.begin),
                        "a function of " + std::to_string(lines) + " lines, at most " +
                            std::to_string(kFunctionLines)});
    }
  }

  size_t newlines(size_t begin, size_t end) const {
    return size_t(std::count(code_.begin() + long(begin), code_.begin() + long(end), '\n'));
  }

  const SourceFile& file_;
  std::string code_;
  Violations& found_;
  std::vector<Open> open_;
  size_t statement_ = 0;  // where the text of the current statement begins
};

}  // namespace

Violations check_functions(const SourceTree& tree) {
  Violations found;
  for (const SourceFile& file : tree) {
    if (file.is_cpp()) FunctionScan(file, found).run();
  }
  return found;
}

}  // namespace tessera::lint
