#include "core/files/output_folder.h"

#include <unistd.h>

#include "core/check.h"
#include "core/files/file.h"

namespace tessera {

namespace fs = std::filesystem;

OutputFolder::OutputFolder(fs::path path) : path_(std::move(path)) {
  if (!path_.has_filename()) path_ = path_.parent_path();
  check(!fs::exists(path_), "{}: already exists; remove it or choose another name", path_.string());
  temporary_ =
      path_.parent_path() / fmt::format(".{}.partial-{}", path_.filename().string(), ::getpid());
  std::error_code error;
  fs::remove_all(temporary_, error);
  fs::create_directories(temporary_, error);
  check(!error, "cannot write {}: {}", path_.string(), error.message());
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void OutputFolder::publish() {
  sync_directory(temporary_);
  std::error_code error;
  fs::rename(temporary_, path_, error);
  check(!error, "cannot write {}: {}", path_.string(), error.message());
  temporary_.clear();
  sync_directory(fs::absolute(path_).parent_path());
}

}  // namespace tessera
