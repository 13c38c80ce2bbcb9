#include "core/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>

#include "core/check.h"
#include "core/files/file.h"

namespace tessera {

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  check(descriptor >= 0, "cannot read {}: {}", path_.string(), last_system_error().message());
  struct stat status = {};
  bool good = ::fstat(descriptor, &status) == 0;
  std::error_code reason = last_system_error();
  if (good && !S_ISREG(status.st_mode)) {
    good = false;
    reason = std::make_error_code(std::errc::is_a_directory);
  }
  if (good && status.st_size > 0) {
    void* memory = ::mmap(nullptr, size_t(status.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0);
    reason = last_system_error();
    good = memory != MAP_FAILED;
    if (good) bytes_ = {static_cast<const std::byte*>(memory), size_t(status.st_size)};
  }
  ::close(descriptor);
  check(good, "cannot read {}: {}", path_.string(), reason.message());
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::release(std::span<const std::byte> part) const {
  const uintptr_t page = uintptr_t(::sysconf(_SC_PAGESIZE));
  const uintptr_t start = reinterpret_cast<uintptr_t>(part.data());
  const uintptr_t begin = (start + page - 1) / page * page;
  const uintptr_t end = (start + part.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace tessera
