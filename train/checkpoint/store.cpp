#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "core/check.h"
#include "core/files/file.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/writer.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step_";
constexpr std::string_view kPartial = ".partial-";
constexpr const char* kLatest = "latest";

// A number that is all of `text`.
std::optional<int64_t> to_number(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return {};
  return number;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  check(!error, "cannot read folder {}: {}", folder.string(), error.message());
  return names;
}

// The steps of the complete checkpoints, newest first.
std::vector<int64_t> saved_steps(const fs::path& folder) {
  std::vector<int64_t> steps;
  for (const std::string& name : names_in(folder)) {
    if (!name.starts_with(kPrefix)) continue;
    if (const auto step = to_number(std::string_view(name).substr(kPrefix.size())))
      steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

std::string name_of_step(int64_t step) {
  return fmt::format("{}{}", kPrefix, step);
}

// The name of something unfinished of this process.
std::string partial_name(std::string_view name) {
  return fmt::format(".{}{}{}", name, kPartial, ::getpid());
}

// True for the partial names of processes that are gone, and of this one, which has just begun.
bool is_leftover(std::string_view name) {
  const size_t at = name.rfind(kPartial);
  if (!name.starts_with('.') || at == std::string_view::npos) return false;
  const auto process = to_number(name.substr(at + kPartial.size()));
  if (!process) return false;
  return *process == ::getpid() || (::kill(pid_t(*process), 0) != 0 && errno == ESRCH);
}

// A directory that is removed with all it holds unless it has been given another name.
class PartialDirectory {
 public:
  explicit PartialDirectory(fs::path path) : path_(std::move(path)) {
    std::error_code error;
    fs::remove_all(path_, error);
    fs::create_directory(path_, error);
    check(!error, "cannot write {}: {}", path_.string(), error.message());
  }
  ~PartialDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  PartialDirectory(const PartialDirectory&) = delete;
  PartialDirectory& operator=(const PartialDirectory&) = delete;

  const fs::path& path() const { return path_; }

  // Takes the final name. What had it before is removed with this object. Where the file system
  // cannot exchange two names, a crash between the two steps leaves neither.
  void publish(const fs::path& name) {
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, name.c_str(), RENAME_EXCHANGE) == 0) return;
    const fs::path aside =
        name.parent_path() / partial_name(name.filename().string() + ".replaced");
    std::error_code error;
    if (fs::exists(name, error)) fs::rename(name, aside, error);
    if (!error) fs::rename(path_, name, error);
    check(!error, "cannot write {}: {}", name.string(), error.message());
    path_ = aside;
  }

 private:
  fs::path path_;
};

void check_writable(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, "cannot make the checkpoint folder {}: {}", folder.string(), error.message());
  const PartialDirectory probe(folder / partial_name("probe"));
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path folder, int keep)
    : folder_(std::move(folder)), keep_(keep) {
  check(keep_ >= 1, "checkpoint.keep is {}: at least 1 checkpoint must be kept", keep_);
  check_writable(folder_);
  std::error_code ignored;
  for (const std::string& name : names_in(folder_))
    if (is_leftover(name)) fs::remove_all(folder_ / name, ignored);
}

void CheckpointStore::save(const CheckpointMeta& meta, std::span<const NamedTensor> tensors,
                           std::span<const StreamedTensor> streamed) {
  check(meta.step >= 0, "a checkpoint of step {}: steps are not negative", meta.step);
  const std::string name = name_of_step(meta.step);
  try {
    PartialDirectory partial(folder_ / partial_name(name));
    write_checkpoint(partial.path(), meta, tensors, streamed);
    partial.publish(folder_ / name);
    sync_directory(folder_);
    point_latest_to(name);
  } catch (const std::exception& error) {
    fail("checkpoint {} was not saved: {}", (folder_ / name).string(), error.what());
  }
  remove_old(meta.step);
}

// A link under a temporary name takes the place of the old one, so that there always is one.
void CheckpointStore::point_latest_to(const std::string& name) {
  const fs::path link = folder_ / partial_name(kLatest);
  std::error_code error;
  fs::remove(link, error);
  fs::create_directory_symlink(name, link, error);
  if (!error) fs::rename(link, folder_ / kLatest, error);
  check(!error, "cannot write {}: {}", (folder_ / kLatest).string(), error.message());
  sync_directory(folder_);
}

// Checkpoints of later steps than the newest stay: they are another run's, or damaged and passed
// over. What is to go loses its name first, so that it is never half there.
void CheckpointStore::remove_old(int64_t newest_step) {
  int kept = 0;
  for (int64_t step : saved_steps(folder_)) {
    if (step > newest_step || kept++ < keep_) continue;
    const std::string name = name_of_step(step);
    std::error_code ignored;
    fs::rename(folder_ / name, folder_ / partial_name(name), ignored);
    fs::remove_all(folder_ / partial_name(name), ignored);
  }
}

LatestCheckpoint find_latest_checkpoint(const fs::path& folder) {
  LatestCheckpoint latest;
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) return latest;
  for (int64_t step : saved_steps(folder)) {
    const fs::path directory = folder / name_of_step(step);
    try {
      verify_files(directory, read_manifest(directory));
      latest.directory = directory;
      return latest;
    } catch (const Error& error) {
      latest.damaged.emplace_back(error.what());
    }
  }
  return latest;
}

}  // namespace tessera
