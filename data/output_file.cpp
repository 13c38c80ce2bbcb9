#include "data/output_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "core/check.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// The reason why `fd` may not grow to `bytes`; 0 if it may or if the system cannot tell.
int reserve_error(int fd, uint64_t bytes) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes > limit.rlim_cur) return EFBIG;
  while (::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, off_t(bytes)) != 0) {
    if (errno == EINTR) continue;
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO ? errno : 0;
  }
  return 0;
}

}  // namespace

OutputFile::OutputFile(const fs::path& path) : path_(path), temporary_(path.string() + ".tmp") {
  check(!fs::is_directory(path), "cannot write {}: it is a folder; give a file name",
        path.string());
  if (std::error_code error; path.has_parent_path()) {
    fs::create_directories(path.parent_path(), error);
    check(!error, "cannot write {}: {}", path.string(), error.message());
  }
  fd_ = ::open(temporary_.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0666);
  check(fd_ >= 0, "cannot write {}: {}", path.string(), std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::unlink(temporary_.c_str());
  ::close(fd_);
}

void OutputFile::reserve(uint64_t bytes) {
  const int error = reserve_error(fd_, bytes);
  check(error == 0, "cannot write {}: {}", path_.string(), std::strerror(error));
}

void OutputFile::commit() {
  const auto must = [&](bool done) {
    check(done, "cannot write {}: {}", path_.string(), std::strerror(errno));
  };
  must(::ftruncate(fd_, ::lseek(fd_, 0, SEEK_END)) == 0);  // gives back what was reserved in vain
  must(::fsync(fd_) == 0);
  must(::rename(temporary_.c_str(), path_.c_str()) == 0);
  ::close(fd_);
  fd_ = -1;
  // Makes the new name last; some file systems cannot flush a folder, and then there is nothing to
  // do.
  const int folder =
      ::open(fs::absolute(path_).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) ::fsync(folder), ::close(folder);
}

}  // namespace tessera
