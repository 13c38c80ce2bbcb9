#include <algorithm>
#include <optional>

#include "core/check.h"
#include "core/files/output_file.h"
#include "core/hdf5/handle.h"
#include "data/token_layout.h"
#include "data/token_store.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
namespace layout = token_layout;
using hdf5::checked;
using hdf5::Handle;

constexpr size_t kChunksHeld = 16;
// Higher levels cost several times the time for a few percent of size.
constexpr unsigned kDeflateLevel = 1;
// What HDF5 may write besides a column's held values: its chunk caches (1 MiB for each of 6
// datasets), indices.
constexpr uint64_t kReserveBytes = uint64_t{8} << 20;

template <class T>
hid_t native_type() {
  if (sizeof(T) == 1) return H5T_NATIVE_UINT8;
  return sizeof(T) == 4 ? H5T_NATIVE_UINT32 : H5T_NATIVE_UINT64;
}

// The file under its temporary name.
class Target {
 public:
  explicit Target(const fs::path& path) : output_(path) {
    make_room(0);
    // From version 1.10 on, chunks are found in constant time.
    const Handle access(H5Pcreate(H5P_FILE_ACCESS));
    H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
    file_ = Handle(
        ok(H5Fcreate(output_.temporary().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get())));
  }

  hid_t file() const { return file_.get(); }
  std::string name() const { return output_.path().string(); }

  // Fails with the file's name when `status` does.
  template <class Status>
  Status ok(Status status) const {
    return checked(status, "cannot write {}", name());
  }

  // To be called before HDF5 is given `bytes` to write.
  void make_room(uint64_t bytes) {
    hsize_t size = 0;
    if (file_) ok(H5Fget_filesize(file_.get(), &size));
    output_.reserve(size + bytes + kReserveBytes);
  }

  // All other handles must be closed.
  void finish() {
    ok(H5Fclose(file_.release()));
    output_.commit();
  }

 private:
  OutputFile output_;
  Handle file_;
};

// A one-dimensional dataset that grows by whole groups of chunks.
template <class T>
class Column {
 public:
  Column(Target& target, hid_t group, const char* name, hid_t file_type, size_t chunk)
      : target_(&target), held_limit_(chunk * kChunksHeld) {
    const hsize_t none = 0, unlimited = H5S_UNLIMITED, chunk_size = chunk;
    const Handle space(H5Screate_simple(1, &none, &unlimited));
    const Handle settings(H5Pcreate(H5P_DATASET_CREATE));
    H5Pset_chunk(settings.get(), 1, &chunk_size);
    H5Pset_shuffle(settings.get());
    H5Pset_deflate(settings.get(), kDeflateLevel);
    H5Pset_fletcher32(settings.get());
    dataset_ = Handle(target.ok(
        H5Dcreate2(group, name, file_type, space.get(), H5P_DEFAULT, settings.get(), H5P_DEFAULT)));
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
    target_->make_room(held_.size() * sizeof(T));
    target_->ok(H5Dset_extent(dataset_.get(), &total));
    const Handle file_space(H5Dget_space(dataset_.get()));
    const Handle memory_space(H5Screate_simple(1, &count, nullptr));
    H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, &first, nullptr, &count, nullptr);
    target_->ok(H5Dwrite(dataset_.get(), native_type<T>(), memory_space.get(), file_space.get(),
                         H5P_DEFAULT, held_.data()));
    written_ = total;
    held_.clear();
  }

  uint64_t size() const { return written_ + held_.size(); }

 private:
  Target* target_;
  size_t held_limit_;
  Handle dataset_;
  std::vector<T> held_;
  uint64_t written_ = 0;
};

struct SplitWriter {
  SplitWriter(Target& target, Split split, uint32_t vocabulary, bool masked)
      : group(target.ok(
            H5Gcreate2(target.file(), split_name(split), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT))),
        tokens(target, group.get(), layout::kTokens,
               vocabulary <= 65536 ? H5T_STD_U16LE : H5T_STD_U32LE, layout::kTokenChunk),
        offsets(target, group.get(), layout::kDocumentOffsets, H5T_STD_U64LE,
                layout::kOffsetChunk) {
    offsets.append(std::array{last_offset});
    if (masked)
      mask.emplace(target, group.get(), layout::kLossMask, H5T_STD_U8LE, layout::kTokenChunk);
  }

  void flush() {
    tokens.flush();
    offsets.flush();
    if (mask) mask->flush();
  }

  Handle group;
  Column<TokenId> tokens;
  Column<uint64_t> offsets;
  std::optional<Column<uint8_t>> mask;
  uint64_t last_offset = 0;
  uint64_t loss_tokens = 0;
};

void write_attribute(Target& target, const char* name, hid_t type, const void* value) {
  const Handle space(H5Screate(H5S_SCALAR));
  const Handle attribute(
      target.ok(H5Acreate2(target.file(), name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT)));
  target.ok(H5Awrite(attribute.get(), type, value));
}

// Of variable length, which may be beyond the 64 KiB of other attributes.
void write_attribute(Target& target, const char* name, const std::string& text) {
  target.make_room(text.size());
  const Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const char* value = text.c_str();
  write_attribute(target, name, type.get(), &value);
}

void write_attribute(Target& target, const char* name, uint32_t value) {
  write_attribute(target, name, H5T_NATIVE_UINT32, &value);
}

}  // namespace

struct TokenFileWriter::Impl {
  Impl(const fs::path& path, const Tokenizer& tokenizer, bool masked)
      : target(path), vocabulary(tokenizer.vocabulary_size()) {
    write_attribute(target, layout::kFormat, std::string(layout::kFormatName));
    write_attribute(target, layout::kVersion,
                    masked ? layout::kMaskedFormatVersion : layout::kFormatVersion);
    write_attribute(target, layout::kTokenizer, tokenizer.name());
    write_attribute(target, layout::kTokenizerHash, tokenizer.hash());
    write_attribute(target, layout::kTokenizerJson, tokenizer.to_json());
    write_attribute(target, layout::kVocabularySize, vocabulary);
    for (Split split : kSplits) splits.emplace_back(target, split, vocabulary, masked);
  }

  SplitWriter& at(Split split) { return splits[size_t(split)]; }

  void append(Split split, std::span<const TokenId> ids) {
    for (TokenId id : ids) {
      check(id < vocabulary, "{}: token id {} is not below the vocabulary size, {}", target.name(),
            id, vocabulary);
    }
    at(split).tokens.append(ids);
  }

  Target target;
  uint32_t vocabulary;
  std::vector<SplitWriter> splits;
};

TokenFileWriter::TokenFileWriter(const fs::path& path, const Tokenizer& tokenizer, LossMask mask) {
  const hdf5::Quiet quiet;
  impl_ = std::make_unique<Impl>(path, tokenizer, mask == LossMask::stored);
}

TokenFileWriter::~TokenFileWriter() {
  const hdf5::Quiet quiet;
  impl_.reset();
}

void TokenFileWriter::append(Split split, std::span<const TokenId> ids) {
  const hdf5::Quiet quiet;
  impl_->append(split, ids);
  SplitWriter& writer = impl_->at(split);
  if (writer.mask) writer.mask->append(std::vector<uint8_t>(ids.size(), 1));
  writer.loss_tokens += ids.size();
}

void TokenFileWriter::append(Split split, std::span<const TokenId> ids,
                             std::span<const uint8_t> mask) {
  const hdf5::Quiet quiet;
  SplitWriter& writer = impl_->at(split);
  check(mask.size() == ids.size() && writer.mask.has_value(),
        "{}: a loss mask of {} values for {} tokens cannot be written", impl_->target.name(),
        mask.size(), ids.size());
  impl_->append(split, ids);
  writer.mask->append(mask);
  writer.loss_tokens += uint64_t(std::ranges::count(mask, uint8_t{1}));
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
  for (Split split : kSplits) end_document(split);
  for (SplitWriter& writer : impl_->splits) writer.flush();
  // Before the datasets are closed: closing one drops what it fails to write.
  impl_->target.ok(H5Fflush(impl_->target.file(), H5F_SCOPE_GLOBAL));
  impl_->splits.clear();
  impl_->target.finish();
  impl_.reset();
}

uint64_t TokenFileWriter::token_count(Split split) const {
  return impl_->at(split).tokens.size();
}

uint64_t TokenFileWriter::document_count(Split split) const {
  return impl_->at(split).offsets.size() - 1;
}

uint64_t TokenFileWriter::loss_token_count(Split split) const {
  return impl_->at(split).loss_tokens;
}

}  // namespace tessera
