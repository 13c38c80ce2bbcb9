#include "tests/lint/rules.h"

#include <algorithm>
#include <map>
#include <regex>
#include <set>

namespace tessera::lint {
namespace {

constexpr size_t kColumns = 100;
constexpr size_t kFileLines = 500;

using Folders = std::set<std::string>;
const std::map<std::string, Folders> kMayInclude{
    {"core", {"core"}},
    {"data", {"core", "data"}},
    {"kernels", {"core", "kernels"}},
    {"model", {"core", "kernels", "model"}},
    {"train", {"core", "kernels", "model", "data", "train"}},
    {"tests", {"core", "kernels", "model", "data", "train", "tests"}},
};

bool may_hold_device_code(const SourceFile& file) {
  return file.top_folder() == "kernels" || file.path.starts_with("tests/kernels/");
}

bool may_include_cuda(const SourceFile& file) {
  static const std::set<std::string> kOthers{
      "core/memory/cuda_memory.cpp", "kernels/linear/cublaslt.cpp",
      "tests/kernels/cudnn_values_test.cpp", "tests/kernels/fake_cublaslt.cpp",
      "train/distributed/nccl.cpp"};
  return (file.is_device_code() && may_hold_device_code(file)) ||
         file.path.starts_with("kernels/launch/cuda/") || kOthers.contains(file.path);
}

bool is_cuda_header(const std::string& name) {
  static const std::regex kCuda("(cuda|cublas|cudnn|nccl|nvtx|cooperative_groups).*");
  return std::regex_match(name, kCuda);
}

size_t columns(std::string_view line) {
  return std::ranges::count_if(line, [](char c) { return (c & 0xC0) != 0x80; });  // of UTF-8
}

// calls visit(line number, line) for each line of the file.
template <class Visitor>
void for_each_line(const SourceFile& file, Visitor visit) {
  size_t number = 0;
  for (const std::string_view line : lines_of(file.text)) visit(++number, std::string(line));
}

}  // namespace

std::string to_text(const Violations& violations) {
  std::string text;
  for (const Violation& v : violations) {
    text += v.path + ":" + std::to_string(v.line) + ": " + v.message + "\n";
  }
  return text;
}

Violations check_includes(const SourceTree& tree) {
  static const std::regex kInclude(R"re(\s*#\s*include\s*([<"])([^>"]+)[>"].*)re");
  std::set<std::string> paths;
  for (const SourceFile& file : tree) paths.insert(file.path);
  Violations found;
  for (const SourceFile& file : tree) {
    const auto allowed = kMayInclude.find(file.top_folder());
    if (!file.is_cpp() || allowed == kMayInclude.end()) continue;
    for_each_line(file, [&](size_t number, const std::string& line) {
      std::smatch match;
      if (!std::regex_match(line, match, kInclude)) return;
      const std::string name = match[2];
      const std::string folder = name.substr(0, name.find('/'));
      if (is_cuda_header(name)) {
        if (!may_include_cuda(file)) {
          found.push_back({file.path, number, "CUDA header <" + name + "> outside device code"});
        }
      } else if (match[1] == "<") {
        if (kMayInclude.contains(folder)) {
          found.push_back({file.path, number, "<" + name + ">: own headers go in quotes"});
        }
      } else if (!paths.contains(name)) {
        found.push_back({file.path, number, "\"" + name + "\" is no path from the root"});
      } else if (!allowed->second.contains(folder)) {
        found.push_back({file.path, number, allowed->first + " may not include " + name});
      }
    });
  }
  return found;
}

Violations check_device_code(const SourceTree& tree) {
  Violations found;
  for (const SourceFile& file : tree) {
    if (!file.is_device_code()) continue;
    if (!may_hold_device_code(file)) {
      found.push_back({file.path, 0, "device code belongs below kernels/ or tests/kernels/"});
    }
    const std::string code = blank_literals(file.text);
    if (code.find("__global__") == std::string::npos &&
        code.find("__device__") == std::string::npos &&
        file.text.find(".cuh\"\n") == std::string::npos) {
      found.push_back({file.path, 0, "no device code here: make it a .cpp or .h file"});
    }
  }
  return found;
}

Violations check_kinds(const SourceTree& tree) {
  static const std::set<std::string> kNames{".clang-format", ".clang-tidy", ".gitignore",
                                            "LICENSE"};
  Violations found;
  for (const SourceFile& file : tree) {
    if (file.is_text() || kNames.contains(file.path) || file.path.starts_with("tests/golden/")) {
      continue;
    }
    found.push_back({file.path, 0, "a file of this kind belongs below tests/golden/, or nowhere"});
  }
  return found;
}

Violations check_sizes(const SourceTree& tree) {
  static const std::set<std::string> kProse{".md", ".txt", ".json"};
  Violations found;
  for (const SourceFile& file : tree) {
    const bool is_prose =
        kProse.contains(file.extension()) && !file.path.ends_with("CMakeLists.txt");
    if (is_prose || !file.is_text()) continue;
    size_t count = 0;
    for_each_line(file, [&](size_t number, const std::string& line) {
      count = number;
      if (columns(line) > kColumns) {
        found.push_back(
            {file.path, number,
             std::to_string(columns(line)) + " columns, at most " + std::to_string(kColumns)});
      }
    });
    if (file.is_cpp() && count > kFileLines) {
      found.push_back({file.path, 0,
                       std::to_string(count) + " lines, at most " + std::to_string(kFileLines) +
                           ": split the file"});
    }
  }
  return found;
}

Violations check_words(const SourceTree& tree) {
  // The brackets keep this file from breaking its own rule.
  static const std::regex kWords("\\b([T]ODO|[F]IXME|[s]tub|[p]laceholder)s?\\b",
                                 std::regex::icase);
  static const std::regex kMark("\\b[X]XX\\b");
  Violations found;
  for (const SourceFile& file : tree) {
    if (!file.is_text()) continue;
    for_each_line(file, [&](size_t number, const std::string& line) {
      std::smatch match;
      if (std::regex_search(line, match, kWords) || std::regex_search(line, match, kMark)) {
        found.push_back({file.path, number, "unfinished work: '" + match.str() + "'"});
      }
    });
  }
  return found;
}

Violations check_pragma_once(const SourceTree& tree) {
  Violations found;
  for (const SourceFile& file : tree) {
    if (!file.is_cpp()) continue;
    const std::string code = blank_literals(file.text);
    const size_t first = code.find_first_not_of(" \n");
    const bool begins = first != std::string::npos && code.compare(first, 12, "#pragma once") == 0;
    if (file.is_header() && !begins) {
      found.push_back({file.path, 0, "a header begins with #pragma once"});
    } else if (!file.is_header() && code.find("#pragma once") != std::string::npos) {
      found.push_back({file.path, 0, "#pragma once belongs in headers"});
    }
  }
  return found;
}

}  // namespace tessera::lint
