#include "data/corpus.h"

#include <fnmatch.h>
#include <glob.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/check.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = size_t{1} << 20;

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, FileCloser>;

File open_text(const fs::path& path) {
  File file(std::fopen(path.c_str(), "rb"));
  check(file != nullptr, "cannot read {}: {}", path.string(), std::strerror(errno));
  return file;
}

bool matches(const fs::path& path, const fs::path& folder,
             const std::vector<std::string>& patterns) {
  const std::string below = path.lexically_relative(folder).string();
  const std::string name = path.filename().string();
  return patterns.empty() || std::ranges::any_of(patterns, [&](const std::string& pattern) {
           const bool whole = pattern.find('/') != std::string::npos;
           return fnmatch(pattern.c_str(), (whole ? below : name).c_str(), 0) == 0;
         });
}

std::vector<fs::path> files_in_folder(const fs::path& folder,
                                      const std::vector<std::string>& patterns) {
  std::vector<fs::path> files;
  try {
    for (fs::recursive_directory_iterator it(folder), end; it != end; ++it) {
      const bool hidden = it->path().filename().string().starts_with('.');
      if (hidden && it->is_directory()) it.disable_recursion_pending();
      if (hidden || !it->is_regular_file()) continue;
      if (matches(it->path(), folder, patterns)) files.push_back(it->path());
    }
  } catch (const fs::filesystem_error& e) {
    fail("cannot search {}: {}", folder.string(), e.code().message());
  }
  std::ranges::sort(files);
  return files;
}

std::vector<fs::path> files_of_glob(const std::string& pattern) {
  glob_t found{};
  const int status = ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<fs::path> files(found.gl_pathv, found.gl_pathv + (status == 0 ? found.gl_pathc : 0));
  ::globfree(&found);
  return files;
}

std::vector<fs::path> files_of_input(const std::string& input,
                                     const std::vector<std::string>& patterns) {
  const std::vector<fs::path> found =
      fs::exists(input) ? std::vector<fs::path>{input} : files_of_glob(input);
  check(!found.empty(), "no file matches '{}'", input);
  std::vector<fs::path> files;
  for (const fs::path& path : found) {
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    const auto inside = files_in_folder(path, patterns);
    files.insert(files.end(), inside.begin(), inside.end());
  }
  check(!files.empty(), "no file in '{}' matches {}", input,
        patterns.empty() ? std::string("(it has none)")
                         : fmt::format("'{}'", fmt::join(patterns, ",")));
  return files;
}

// The same for every name of a file; pipes have no other.
fs::path identity(const fs::path& path) {
  return fs::is_regular_file(path) ? fs::canonical(path) : fs::absolute(path);
}

// Appends up to `count` bytes; fewer at the end of the file.
void read_text(std::FILE* file, const fs::path& path, size_t count, std::string& text,
               const std::function<void(uint64_t)>& read_more) {
  for (size_t left = count; left > 0;) {
    const size_t kept = text.size(), wanted = std::min(left, kReadBytes);
    text.resize(kept + wanted);
    const size_t got = std::fread(text.data() + kept, 1, wanted, file);
    text.resize(kept + got);
    check(std::ferror(file) == 0, "cannot read {}: {}", path.string(), std::strerror(errno));
    read_more(got);
    if (got < wanted) return;
    left -= got;
  }
}

// Reads blocks of a file, keeping what the visitor leaves unused. A block is as long as what was
// kept, for the visitor looks at that again: so the whole takes time linear in the file's size.
void visit_document(std::FILE* file, const fs::path& path, const TextVisitor& visitor,
                    const std::function<void(uint64_t)>& read_more) {
  std::string text;
  uint64_t offset = 0;
  for (bool last = false; !last;) {
    const size_t kept = text.size(), count = std::max(kept, kReadBytes);
    read_text(file, path, count, text, read_more);
    last = text.size() < kept + count;
    if (text.empty() && offset == 0) return;
    const size_t used = visitor({.bytes = text, .offset = offset, .last = last});
    offset += used;
    text.erase(0, used);
  }
}

std::string field_of(std::string_view line, const std::string& field) {
  try {
    const auto json = nlohmann::json::parse(line);
    if (!json.is_object()) throw TextError("the line is not a JSON object");
    const auto found = json.find(field);
    if (found == json.end()) {
      throw TextError(fmt::format("no field '{}'; name another with --field", field));
    }
    if (!found->is_string()) throw TextError(fmt::format("field '{}' is not a string", field));
    return found->get<std::string>();
  } catch (const nlohmann::json::exception& e) {
    throw TextError(fmt::format("not JSON: {}", e.what()));
  }
}

// One line of a file, whatever its length, without its end; false at the end of the file.
class LineReader {
 public:
  explicit LineReader(std::FILE* file) : file_(file) {}
  ~LineReader() { std::free(buffer_); }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool next(std::string_view& line) {
    const ssize_t length = ::getline(&buffer_, &capacity_, file_);
    if (length > 0) line = std::string_view(buffer_, size_t(length));
    return length > 0;
  }

 private:
  std::FILE* file_;
  char* buffer_ = nullptr;
  size_t capacity_ = 0;
};

void visit_json_lines(std::FILE* file, const fs::path& path, const Corpus::LineVisitor& visitor,
                      const std::function<void(uint64_t)>& read_more) {
  LineReader reader(file);
  std::string_view line;
  for (uint64_t number = 1; reader.next(line); ++number) {
    read_more(line.size());
    if (line.find_first_not_of(" \t\r\n") == std::string_view::npos) continue;
    try {
      visitor(line);
    } catch (const TextError& e) {
      fail("{}:{}: {}", path.string(), number, e.what());
    }
  }
  check(std::ferror(file) == 0, "cannot read {}: {}", path.string(), std::strerror(errno));
}

}  // namespace

Corpus::Corpus(const CorpusConfig& config) : field_(config.field) {
  check(!config.inputs.empty(), "no input; name files, folders or globs");
  std::set<fs::path> seen;
  for (const fs::path& path : config.exclude) seen.insert(identity(path));
  for (const std::string& input : config.inputs) {
    for (const fs::path& path : files_of_input(input, config.patterns)) {
      if (!seen.insert(identity(path)).second) continue;
      files_.push_back(path);
      bytes_ += fs::is_regular_file(path) ? fs::file_size(path) : 0;
    }
  }
  check(!files_.empty(), "no input file is left besides the output");
}

void Corpus::check_rereadable() const {
  for (const fs::path& path : files_) {
    check(fs::is_regular_file(path),
          "{} is not a regular file: the text is read twice, first for the tokenizer to learn its "
          "vocabulary; store it in a file, or use a tokenizer that learns nothing, such as byte",
          path.string());
  }
}

void Corpus::visit(const TextVisitor& visitor,
                   const std::function<void(uint64_t)>& progress) const {
  uint64_t total = 0;
  const auto read_more = [&](uint64_t count) { progress(total += count); };
  for (const fs::path& path : files_) {
    const File file = open_text(path);
    if (path.extension() == ".jsonl") {
      const auto text_line = [&](std::string_view line) {
        const std::string text = field_of(line, field_);
        if (!text.empty()) visitor({.bytes = text});
      };
      visit_json_lines(file.get(), path, text_line, read_more);
      continue;
    }
    const auto named = [&](const TextPart& part) {
      try {
        return visitor(part);
      } catch (const TextError& e) {
        fail("{}: {}", path.string(), e.what());
      }
    };
    visit_document(file.get(), path, named, read_more);
  }
}

void Corpus::visit_lines(const LineVisitor& visitor,
                         const std::function<void(uint64_t)>& progress) const {
  uint64_t total = 0;
  for (const fs::path& path : files_) {
    check(path.extension() == ".jsonl",
          "{}: conversations are read from .jsonl files, one a line; --glob '*.jsonl' chooses them",
          path.string());
    const File file = open_text(path);
    visit_json_lines(file.get(), path, visitor, [&](uint64_t count) { progress(total += count); });
  }
}

}  // namespace tessera
