// The repository's own files, read for the rules in rules.h.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::lint {

struct SourceFile {
  std::string path;  // relative to the root, with forward slashes
  std::string text;

  std::string extension() const { return std::filesystem::path(path).extension().string(); }
  std::string top_folder() const { return path.substr(0, path.find('/')); }
  bool is_header() const { return extension() == ".h" || extension() == ".cuh"; }
  bool is_device_code() const { return extension() == ".cu" || extension() == ".cuh"; }
  bool is_text() const;  // a source, script, configuration or document
  bool is_cpp() const { return is_header() || is_device_code() || extension() == ".cpp"; }
};

using SourceTree = std::vector<SourceFile>;

// All files below `root`, sorted by path. Hidden folders other than .ci, build/ and runs/ are left
// out.
SourceTree read_tree(const std::filesystem::path& root);

// The lines of `text`, without their ends.
std::vector<std::string_view> lines_of(std::string_view text);

// C++ text of the same length, with comments and the contents of string and character literals
// replaced by blanks. Newlines stay.
std::string blank_literals(std::string_view text);

}  // namespace tessera::lint
