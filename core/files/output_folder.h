// A folder that appears whole or not at all.
#pragma once

#include <filesystem>

namespace tessera {

// Stands for a hidden folder beside `path`; publish() gives it its name. Destroyed before that, it
// is removed with all it holds.
class OutputFolder {
 public:
  // Error where `path` exists or cannot be made.
  explicit OutputFolder(std::filesystem::path path);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& temporary() const { return temporary_; }
  // The files in it have been flushed by whoever wrote them.
  void publish();

 private:
  std::filesystem::path path_, temporary_;
};

}  // namespace tessera
