// Values kept on disk between two steps, in a file without a name: it vanishes with the process.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/check.h"

namespace tessera {

template <class T>
class Spool {
 public:
  explicit Spool(const std::filesystem::path& folder) {
    std::string name = (folder / ".spool-XXXXXX").string();
    fd_ = ::mkostemp(name.data(), O_CLOEXEC);
    check(fd_ >= 0, "cannot write in {}: {}", folder.string(), std::strerror(errno));
    ::unlink(name.c_str());
    held_.reserve(kHeld);
  }
  ~Spool() { ::close(fd_); }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  uint64_t size() const { return written_ + held_.size(); }

  void append(std::span<const T> values) {
    while (!values.empty()) {
      const size_t n = std::min(values.size(), kHeld - held_.size());
      held_.insert(held_.end(), values.begin(), values.begin() + n);
      values = values.subspan(n);
      if (held_.size() == kHeld) flush();
    }
  }

  // Elements [first, first + out.size()).
  void read(uint64_t first, std::span<T> out) {
    flush();
    transfer(first, std::as_writable_bytes(out),
             [this](std::byte* bytes, size_t n, off_t at) { return ::pread(fd_, bytes, n, at); });
  }

 private:
  static constexpr size_t kHeld = (size_t{1} << 20) / sizeof(T);

  void flush() {
    transfer(written_, std::as_writable_bytes(std::span(held_)),
             [this](std::byte* bytes, size_t n, off_t at) { return ::pwrite(fd_, bytes, n, at); });
    written_ += held_.size();
    held_.clear();
  }

  template <class Call>
  void transfer(uint64_t first, std::span<std::byte> bytes, Call call) {
    for (off_t at = off_t(first * sizeof(T)); !bytes.empty();) {
      const ssize_t n = call(bytes.data(), bytes.size(), at);
      if (n < 0 && errno == EINTR) continue;
      check(n > 0, "cannot keep tokens in a temporary file beside the output: {}",
            n < 0 ? std::strerror(errno) : "unexpected end");
      bytes = bytes.subspan(size_t(n));
      at += n;
    }
  }

  int fd_ = -1;
  uint64_t written_ = 0;
  std::vector<T> held_;
};

}  // namespace tessera
