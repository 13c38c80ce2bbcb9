// Files on disk: owned descriptors and durable writes. Every failure is an Error with the path and
// the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace tessera {

// The system's reason for the last failed call.
std::error_code last_system_error();

class File {
 public:
  File() = default;
  File(File&& other) noexcept
      : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~File();

  static File create(std::filesystem::path path);  // empty, for reading and writing
  static File open(std::filesystem::path path);    // for reading

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const;

  // Writes all of `bytes`; the reason where the system refuses.
  std::error_code write_at(uint64_t offset, std::span<const std::byte> bytes) const noexcept;
  std::error_code truncate(uint64_t size) const noexcept;
  // Claims disk space for the file to grow to `bytes`, without changing its size; the reason where
  // there is no room. Nothing where the file system cannot tell.
  std::error_code reserve(uint64_t bytes) const noexcept;
  // Fills `bytes` up to the end of the file and returns how many were read.
  size_t read_at(uint64_t offset, std::span<std::byte> bytes) const;

  // Returns when the contents are on the disk; drops them from the page cache, so that a later
  // read tells what the disk holds.
  void sync() const;
  void close();

 private:
  File(std::filesystem::path path, int flags, std::string_view purpose);

  std::filesystem::path path_;
  int descriptor_ = -1;
};

// Returns when the names in the directory are on the disk; at once where it cannot be flushed: for
// lack of the right to read it, or of support in the file system.
void sync_directory(const std::filesystem::path& path);

// Returns when the text is on the disk.
void write_text_file(const std::filesystem::path& path, std::string_view text);
std::string read_text_file(const std::filesystem::path& path);

}  // namespace tessera
