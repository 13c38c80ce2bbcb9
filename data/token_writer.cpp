#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "core/check.h"
#include "data/hdf5_handle.h"
#include "data/token_layout.h"
#include "data/token_store.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
namespace layout = token_layout;
using hdf5::checked;
using hdf5::Handle;

constexpr size_t kChunksHeld = 16;
constexpr unsigned kDeflateLevel =
    1;  // higher levels cost several times the time for a few percent of size

template <class T>
hid_t native_type() {
  return sizeof(T) == 4 ? H5T_NATIVE_UINT32 : H5T_NATIVE_UINT64;
}

// A one-dimensional dataset that grows by whole groups of chunks.
template <class T>
class Column {
 public:
  Column(hid_t group, const char* name, hid_t file_type, size_t chunk, std::string where)
      : where_(std::move(where)), held_limit_(chunk * kChunksHeld) {
    const hsize_t none = 0, unlimited = H5S_UNLIMITED, chunk_size = chunk;
    const Handle space(H5Screate_simple(1, &none, &unlimited));
    const Handle settings(H5Pcreate(H5P_DATASET_CREATE));
    H5Pset_chunk(settings.get(), 1, &chunk_size);
    H5Pset_shuffle(settings.get());
    H5Pset_deflate(settings.get(), kDeflateLevel);
    H5Pset_fletcher32(settings.get());
    dataset_ = Handle(checked(
        H5Dcreate2(group, name, file_type, space.get(), H5P_DEFAULT, settings.get(), H5P_DEFAULT),
        "{}: cannot create {}", where_, name));
    held_.reserve(held_limit_);
  }

  void append(std::span<const T> values) {
    while (!values.empty()) {
      const size_t n = std::min(values.size(), held_limit_ - held_.size());
      held_.insert(held_.end(), values.begin(), values.begin() + n);
      values = values.subspan(n);
      if (held_.size() == held_limit_) flush();
    }
  }

  void flush() {
    if (held_.empty()) return;
    const hsize_t first = written_, count = held_.size(), total = first + count;
    checked(H5Dset_extent(dataset_.get(), &total), "{}: cannot write", where_);
    const Handle file_space(H5Dget_space(dataset_.get()));
    const Handle memory_space(H5Screate_simple(1, &count, nullptr));
    H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, &first, nullptr, &count, nullptr);
    checked(H5Dwrite(dataset_.get(), native_type<T>(), memory_space.get(), file_space.get(),
                     H5P_DEFAULT, held_.data()),
            "{}: cannot write", where_);
    written_ = total;
    held_.clear();
  }

  uint64_t size() const { return written_ + held_.size(); }

 private:
  std::string where_;
  size_t held_limit_;
  Handle dataset_;
  std::vector<T> held_;
  uint64_t written_ = 0;
};

struct SplitWriter {
  SplitWriter(hid_t file, Split split, uint32_t vocabulary, const std::string& where)
      : group(checked(H5Gcreate2(file, split_name(split), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                      "{}: cannot create group {}", where, split_name(split))),
        tokens(group.get(), layout::kTokens, vocabulary <= 65536 ? H5T_STD_U16LE : H5T_STD_U32LE,
               layout::kTokenChunk, where),
        offsets(group.get(), layout::kDocumentOffsets, H5T_STD_U64LE, layout::kOffsetChunk, where) {
    offsets.append(std::array{last_offset});
  }

  Handle group;
  Column<TokenId> tokens;
  Column<uint64_t> offsets;
  uint64_t last_offset = 0;
};

void write_attribute(hid_t file, const char* name, hid_t type, const void* value) {
  const Handle space(H5Screate(H5S_SCALAR));
  const Handle attribute(
      checked(H5Acreate2(file, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
              "cannot create attribute {}", name));
  checked(H5Awrite(attribute.get(), type, value), "cannot write attribute {}", name);
}

void write_attribute(hid_t file, const char* name, const std::string& text) {
  const Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const char* value = text.c_str();
  write_attribute(file, name, type.get(), &value);
}

void write_attribute(hid_t file, const char* name, uint32_t value) {
  write_attribute(file, name, H5T_NATIVE_UINT32, &value);
}

// Fails with the system's reason, which HDF5 does not pass on.
void check_writable(const fs::path& path, const fs::path& temporary) {
  check(!fs::is_directory(path), "cannot write {}: it is a folder; give a file name",
        path.string());
  const int fd = ::open(temporary.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
  check(fd >= 0, "cannot write {}: {}", path.string(), std::strerror(errno));
  ::close(fd);
}

bool flush_to_disk(const fs::path& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
  const bool flushed = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  return flushed;
}

// Frees the space too, even if HDF5 could not close the file.
void remove_all_of(const fs::path& path) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) fs::resize_file(path, 0, ignored);
  fs::remove(path, ignored);
}

}  // namespace

struct TokenFileWriter::Impl {
  Impl(const fs::path& path, const Tokenizer& tokenizer)
      : path(path), temporary(path.string() + ".tmp"), vocabulary(tokenizer.vocabulary_size()) {
    check_writable(path, temporary);
    // From version 1.10 on, chunks are found in constant time and attributes may be large.
    const Handle access(H5Pcreate(H5P_FILE_ACCESS));
    H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
    file = Handle(checked(H5Fcreate(temporary.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()),
                          "cannot write {}", path.string()));
    write_attribute(file.get(), layout::kFormat, std::string(layout::kFormatName));
    write_attribute(file.get(), layout::kVersion, layout::kFormatVersion);
    write_attribute(file.get(), layout::kTokenizer, tokenizer.name());
    write_attribute(file.get(), layout::kTokenizerHash, tokenizer.hash());
    write_attribute(file.get(), layout::kTokenizerJson, tokenizer.to_json());
    write_attribute(file.get(), layout::kVocabularySize, vocabulary);
    for (Split split : kSplits) splits.emplace_back(file.get(), split, vocabulary, path.string());
  }

  SplitWriter& at(Split split) { return splits[size_t(split)]; }

  fs::path path, temporary;
  uint32_t vocabulary;
  Handle file;
  std::vector<SplitWriter> splits;
};

TokenFileWriter::TokenFileWriter(const fs::path& path, const Tokenizer& tokenizer) {
  const hdf5::Quiet quiet;
  try {
    impl_ = std::make_unique<Impl>(path, tokenizer);
  } catch (...) {
    remove_all_of(path.string() + ".tmp");
    throw;
  }
}

TokenFileWriter::~TokenFileWriter() {
  if (impl_ == nullptr) return;
  const hdf5::Quiet quiet;
  const fs::path temporary = impl_->temporary;
  impl_.reset();
  remove_all_of(temporary);
}

void TokenFileWriter::append(Split split, std::span<const TokenId> ids) {
  const hdf5::Quiet quiet;
  for (TokenId id : ids) {
    check(id < impl_->vocabulary, "{}: token id {} is not below the vocabulary size, {}",
          impl_->path.string(), id, impl_->vocabulary);
  }
  impl_->at(split).tokens.append(ids);
}

void TokenFileWriter::end_document(Split split) {
  const hdf5::Quiet quiet;
  SplitWriter& writer = impl_->at(split);
  if (writer.tokens.size() == writer.last_offset) return;
  writer.last_offset = writer.tokens.size();
  writer.offsets.append(std::array{writer.last_offset});
}

void TokenFileWriter::finish() {
  const hdf5::Quiet quiet;
  const std::string name = impl_->path.string();
  for (Split split : kSplits) end_document(split);
  for (SplitWriter& writer : impl_->splits) writer.tokens.flush(), writer.offsets.flush();
  // Before the datasets are closed: closing one drops what it fails to write.
  checked(H5Fflush(impl_->file.get(), H5F_SCOPE_GLOBAL), "cannot write {}", name);
  impl_->splits.clear();
  checked(H5Fclose(impl_->file.release()), "cannot write {}", name);
  check(flush_to_disk(impl_->temporary, O_RDONLY), "cannot flush {} to disk: {}", name,
        std::strerror(errno));
  std::error_code error;
  fs::rename(impl_->temporary, impl_->path, error);
  check(!error, "cannot write {}: {}", name, error.message());
  flush_to_disk(fs::absolute(impl_->path).parent_path(), O_RDONLY | O_DIRECTORY);  // the new name
  impl_.reset();
}

uint64_t TokenFileWriter::token_count(Split split) const {
  return impl_->at(split).tokens.size();
}

uint64_t TokenFileWriter::document_count(Split split) const {
  return impl_->at(split).offsets.size() - 1;
}

}  // namespace tessera
