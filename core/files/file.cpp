#include "core/files/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/check.h"

namespace tessera {

std::error_code last_system_error() {
  return {errno, std::generic_category()};
}

File::File(std::filesystem::path path, int flags, std::string_view purpose)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), flags | O_CLOEXEC, 0666)) {
  check(descriptor_ >= 0, "cannot {} {}: {}", purpose, path_.string(),
        last_system_error().message());
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File File::create(std::filesystem::path path) {
  return File(std::move(path), O_RDWR | O_CREAT | O_TRUNC, "write");
}

File File::open(std::filesystem::path path) {
  return File(std::move(path), O_RDONLY, "read");
}

uint64_t File::size() const {
  struct stat status;
  const bool known = ::fstat(descriptor_, &status) == 0;
  check(known, "cannot read {}: {}", path_.string(), last_system_error().message());
  return uint64_t(status.st_size);
}

std::error_code File::write_at(uint64_t offset, std::span<const std::byte> bytes) const noexcept {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data(), bytes.size(), off_t(offset));
    if (n < 0 && errno != EINTR) return last_system_error();
    if (n <= 0) continue;
    offset += uint64_t(n);
    bytes = bytes.subspan(size_t(n));
  }
  return {};
}

std::error_code File::truncate(uint64_t size) const noexcept {
  return ::ftruncate(descriptor_, off_t(size)) == 0 ? std::error_code() : last_system_error();
}

std::error_code File::reserve(uint64_t bytes) const noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes > limit.rlim_cur)
    return std::make_error_code(std::errc::file_too_large);
  while (::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, 0, off_t(bytes)) != 0) {
    if (errno == EINTR) continue;
    const bool no_room = errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO;
    return no_room ? last_system_error() : std::error_code();
  }
  return {};
}

size_t File::read_at(uint64_t offset, std::span<std::byte> bytes) const {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pread(descriptor_, bytes.data() + done, bytes.size() - done, off_t(offset + done));
    check(n >= 0 || errno == EINTR, "cannot read {}: {}", path_.string(),
          last_system_error().message());
    if (n == 0) break;
    if (n > 0) done += size_t(n);
  }
  return done;
}

void File::sync() const {
  const bool synced = ::fsync(descriptor_) == 0;
  check(synced, "cannot write {}: {}", path_.string(), last_system_error().message());
  ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED);
}

void File::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  // After EINTR the descriptor is closed all the same (Linux, close(2)).
  const bool closed = ::close(descriptor) == 0 || errno == EINTR;
  check(closed, "cannot write {}: {}", path_.string(), last_system_error().message());
}

void sync_directory(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const std::error_code reason = synced ? std::error_code() : last_system_error();
  if (descriptor >= 0) ::close(descriptor);
  const bool cannot_be_synced =
      reason == (descriptor < 0 ? std::errc::permission_denied : std::errc::invalid_argument);
  check(synced || cannot_be_synced, "cannot write folder {}: {}", path.string(), reason.message());
}

void write_text_file(const std::filesystem::path& path, std::string_view text) {
  File file = File::create(path);
  const std::error_code error = file.write_at(0, std::as_bytes(std::span(text)));
  check(!error, "cannot write {}: {}", path.string(), error.message());
  file.sync();
  file.close();
}

std::string read_text_file(const std::filesystem::path& path) {
  const File file = File::open(path);
  std::string text(file.size(), '\0');
  text.resize(file.read_at(0, std::as_writable_bytes(std::span(text))));
  return text;
}

}  // namespace tessera
