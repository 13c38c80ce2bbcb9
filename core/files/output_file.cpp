#include "core/files/output_file.h"

#include "core/check.h"

namespace tessera {

namespace fs = std::filesystem;

OutputFile::OutputFile(const fs::path& path) : path_(path), temporary_(path.string() + ".tmp") {
  check(!fs::is_directory(path), "cannot write {}: it is a folder; give a file name",
        path.string());
  if (std::error_code error; path.has_parent_path()) {
    fs::create_directories(path.parent_path(), error);
    check(!error, "cannot write {}: {}", path.string(), error.message());
  }
  file_ = File::create(temporary_);
}

OutputFile::~OutputFile() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove(temporary_, ignored);
}

void OutputFile::reserve(uint64_t bytes) {
  const std::error_code error = file_.reserve(bytes);
  check(!error, "cannot write {}: {}", path_.string(), error.message());
}

void OutputFile::commit() {
  std::error_code error = file_.truncate(file_.size());  // gives back what was reserved in vain
  check(!error, "cannot write {}: {}", path_.string(), error.message());
  file_.sync();
  file_.close();
  fs::rename(temporary_, path_, error);
  check(!error, "cannot write {}: {}", path_.string(), error.message());
  temporary_.clear();
  sync_directory(fs::absolute(path_).parent_path());
}

}  // namespace tessera
