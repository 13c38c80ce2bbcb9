#include "tests/lint/source_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <set>

namespace tessera::lint {
namespace {

namespace fs = std::filesystem;

bool is_left_out(const fs::path& folder) {
  const std::string name = folder.filename().string();
  return name == "build" || name == "runs" || name == "__pycache__" ||
         (name.starts_with('.') && name != ".ci");
}

std::string read(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Replaces text[begin, end) by blanks and returns end.
size_t blank(std::string& text, size_t begin, size_t end) {
  end = std::min(end, text.size());
  for (size_t i = begin; i < end; ++i) {
    if (text[i] != '\n') text[i] = ' ';
  }
  return end;
}

// One past the end of the quoted literal whose opening quote is at `begin`.
size_t quoted_end(std::string_view text, size_t begin) {
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == text[begin] || text[i] == '\n') {
      return i + 1;
    }
  }
  return text.size();
}

// The same for a raw string R"tag(...)tag" whose quote is at `begin`.
size_t raw_end(std::string_view text, size_t begin) {
  const size_t open = text.find('(', begin);
  if (open == std::string_view::npos) return text.size();
  const std::string close = fmt::format("){}\"", text.substr(begin + 1, open - begin - 1));
  const size_t end = text.find(close, open);
  return end == std::string_view::npos ? text.size() : end + close.size();
}

bool is_word(std::string_view text, size_t i) {
  return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_');
}

}  // namespace

bool SourceFile::is_text() const {
  static const std::set<std::string> kExtensions{".h",   ".cpp",  ".cu",    ".cuh", ".md",  ".py",
                                                 ".txt", ".yaml", ".cmake", ".sh",  ".json"};
  return kExtensions.contains(extension()) || top_folder() == "tools" || top_folder() == ".ci";
}

SourceTree read_tree(const fs::path& root) {
  SourceTree tree;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::end(it); ++it) {
    if (it->is_directory() && is_left_out(it->path())) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      tree.push_back({it->path().lexically_relative(root).generic_string(), read(it->path())});
    }
  }
  std::ranges::sort(tree, {}, &SourceFile::path);
  return tree;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string blank_literals(std::string_view source) {
  std::string text(source);
  for (size_t i = 0; i < text.size();) {
    if (source.substr(i).starts_with("//")) {
      i = blank(text, i, source.find('\n', i));
    } else if (source.substr(i).starts_with("/*")) {
      const size_t end = source.find("*/", i + 2);
      i = blank(text, i, end == std::string_view::npos ? end : end + 2);
    } else if (text[i] == '"') {
      const size_t end = i > 0 && text[i - 1] == 'R' ? raw_end(source, i) : quoted_end(source, i);
      i = blank(text, i + 1, end - 1) + 1;
    } else if (text[i] == '\'' && !(i > 0 && is_word(text, i - 1))) {  // not 1'000'000
      const size_t end = quoted_end(source, i);
      i = blank(text, i + 1, end - 1) + 1;
    } else {
      ++i;
    }
  }
  return text;
}

}  // namespace tessera::lint
