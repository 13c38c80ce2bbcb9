// The text that a token file is made from: files, folders and patterns, seen as a sequence of
// documents.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace tessera {

struct CorpusConfig {
  std::vector<std::string>
      inputs;  // files, folders (searched recursively, hidden entries left out), globs
  // Which files of a folder to take, such as "*.cpp"; all if empty. A pattern with '/' is matched
  // against the path below the folder, others against the file's name.
  std::vector<std::string> patterns;
  std::string field = "text";                  // of each line of a .jsonl file
  std::vector<std::filesystem::path> exclude;  // never read, even in a folder: the outputs
};

// One document is a whole file, or one line of a .jsonl file. Order: as the inputs are given;
// sorted by path within each.
class Corpus {
 public:
  // Throws Error for an input that matches no file.
  explicit Corpus(const CorpusConfig& config);

  const std::vector<std::filesystem::path>& files() const { return files_; }
  uint64_t bytes() const { return bytes_; }  // of all files

  // Throws Error for a file that gives its text only once, such as a pipe.
  void check_rereadable() const;

  // Shows the parts of every document that is not empty to `visitor`. Of a plain file at most a
  // few MiB are in memory, or twice what the visitor leaves unused if that is more. `progress`
  // hears the number of bytes read so far, and may throw to stop. Throws Error "FILE: ..." or
  // "FILE:LINE: ..." for what cannot be read and for the visitor's TextErrors.
  void visit(const TextVisitor& visitor, const std::function<void(uint64_t)>& progress) const;

  // The same for every line of .jsonl files that is not blank, as it stands. Throws Error for a
  // file with another ending.
  using LineVisitor = std::function<void(std::string_view line)>;
  void visit_lines(const LineVisitor& visitor, const std::function<void(uint64_t)>& progress) const;

 private:
  std::string field_;
  std::vector<std::filesystem::path> files_;
  uint64_t bytes_ = 0;
};

}  // namespace tessera
