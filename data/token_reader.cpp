#include <algorithm>
#include <bit>
#include <limits>
#include <optional>

#include "core/check.h"
#include "core/hdf5/handle.h"
#include "data/token_layout.h"
#include "data/token_store.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
namespace layout = token_layout;
using hdf5::checked;
using hdf5::Handle;

// Offsets are read in blocks; the first of each stays in memory (one in 4096).
constexpr uint64_t kBlock = layout::kOffsetChunk;
constexpr size_t kOffsetCacheBytes = size_t{8} << 20;
constexpr size_t kCacheSlots = 20011;  // prime, well above the number of chunks held

Handle open_file(const fs::path& path) {
  const std::string name = path.string();
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  check(fs::exists(status), "token file {} does not exist; prepare-data makes token files", name);
  check(!fs::is_directory(status), "token file {} is a folder", name);
  // Finished token files never change, so no lock is taken; some file systems have none.
  const Handle access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_file_locking(access.get(), false, true);
  Handle file(H5Fopen(name.c_str(), H5F_ACC_RDONLY, access.get()));
  if (file) return file;
  const std::string reason = hdf5::last_error();
  check(H5Fis_hdf5(name.c_str()) != 0, "{} is not an HDF5 file; prepare-data makes token files",
        name);
  fail("cannot open {} (damaged, truncated or unreadable?): {}", name, reason);
}

Handle open_attribute(hid_t file, const char* name, H5T_class_t type_class,
                      const std::string& where) {
  check(H5Aexists(file, name) > 0,
        "{} is not a token file: it has no attribute '{}'; prepare-data makes token files", where,
        name);
  Handle attribute(checked(H5Aopen(file, name, H5P_DEFAULT), "{}: attribute '{}'", where, name));
  const Handle type(H5Aget_type(attribute.get()));
  const Handle space(H5Aget_space(attribute.get()));
  check(H5Tget_class(type.get()) == type_class &&
            (type_class != H5T_STRING || H5Tis_variable_str(type.get()) > 0) &&
            H5Sget_simple_extent_npoints(space.get()) == 1,
        "{}: attribute '{}' is not {}", where, name,
        type_class == H5T_STRING ? "a variable-length string" : "an integer");
  return attribute;
}

std::string read_text(hid_t file, const char* name, const std::string& where) {
  const Handle attribute = open_attribute(file, name, H5T_STRING, where);
  const Handle type(H5Aget_type(attribute.get()));
  char* text = nullptr;
  checked(H5Aread(attribute.get(), type.get(), &text), "{}: attribute '{}'", where, name);
  std::string result = text == nullptr ? "" : text;
  H5free_memory(text);
  return result;
}

uint32_t read_integer(hid_t file, const char* name, const std::string& where) {
  const Handle attribute = open_attribute(file, name, H5T_INTEGER, where);
  uint32_t value = 0;
  checked(H5Aread(attribute.get(), H5T_NATIVE_UINT32, &value), "{}: attribute '{}'", where, name);
  return value;
}

// A one-dimensional dataset of unsigned integers, read at random through a cache of decompressed
// chunks.
class Column {
 public:
  Column(hid_t group, const char* name, std::initializer_list<size_t> widths, size_t cache_bytes,
         std::string where)
      : where_(std::move(where) + "/" + name) {
    const Handle access(H5Pcreate(H5P_DATASET_ACCESS));
    H5Pset_chunk_cache(access.get(), kCacheSlots, cache_bytes, H5D_CHUNK_CACHE_W0_DEFAULT);
    check(H5Lexists(group, name, H5P_DEFAULT) > 0, "{} is missing; this is not a token file",
          where_);
    dataset_ = Handle(checked(H5Dopen2(group, name, access.get()), "{}", where_));
    const Handle type(H5Dget_type(dataset_.get()));
    check(H5Tget_class(type.get()) == H5T_INTEGER && H5Tget_sign(type.get()) == H5T_SGN_NONE &&
              std::find(widths.begin(), widths.end(), H5Tget_size(type.get())) != widths.end(),
          "{} does not hold unsigned integers of {} bytes", where_, fmt::join(widths, " or "));
    width_ = H5Tget_size(type.get());
    space_ = Handle(H5Dget_space(dataset_.get()));
    check(H5Sget_simple_extent_ndims(space_.get()) == 1, "{} does not have one dimension", where_);
    size_ = uint64_t(H5Sget_simple_extent_npoints(space_.get()));
  }

  uint64_t size() const { return size_; }
  size_t width() const { return width_; }  // bytes of an element
  const std::string& where() const { return where_; }

  // Elements [first, first + count) into `out` of `memory_type`. HDF5 clears a buffer of 1 MiB at
  // every read that converts, so this should be the type in the file.
  void read(uint64_t first, size_t count, hid_t memory_type, void* out) {
    if (count == 0) return;
    const hsize_t start = first, length = count;
    const Handle memory_space(H5Screate_simple(1, &length, nullptr));
    H5Sselect_hyperslab(space_.get(), H5S_SELECT_SET, &start, nullptr, &length, nullptr);
    checked(
        H5Dread(dataset_.get(), memory_type, memory_space.get(), space_.get(), H5P_DEFAULT, out),
        "{}: cannot read elements {} to {}; the file is damaged", where_, first, first + count);
  }

 private:
  std::string where_;
  Handle dataset_, space_;
  size_t width_ = 0;
  uint64_t size_ = 0;
};

// Document boundaries: one offset in kBlock in memory, the rest read block by block.
class DocumentIndex {
 public:
  DocumentIndex(Column column, uint64_t tokens) : column_(std::move(column)) {
    check(column_.size() > 0, "{} is empty; it must hold at least 0", column_.where());
    documents_ = column_.size() - 1;
    validate(tokens);
  }

  uint64_t documents() const { return documents_; }
  uint64_t hash() const { return hash_; }  // of the offsets

  TokenRange document(uint64_t index) { return {offset(index), offset(index + 1)}; }

  // The last document that begins at or before `position`.
  uint64_t at(uint64_t position) {
    const auto above = std::upper_bound(first_.begin(), first_.end(), position);
    const uint64_t block = uint64_t(above - first_.begin()) - 1;
    load(block);
    const auto next = std::upper_bound(block_.begin(), block_.end(), position);
    return block * kBlock + uint64_t(next - block_.begin()) - 1;
  }

  uint64_t offset(uint64_t index) {
    if (index % kBlock == 0) return first_[index / kBlock];
    load(index / kBlock);
    return block_[index % kBlock];
  }

 private:
  void load(uint64_t block) {
    if (loaded_ == block) return;
    loaded_.reset();
    const uint64_t first = block * kBlock;
    block_.resize(std::min(kBlock, column_.size() - first));
    column_.read(first, block_.size(), H5T_NATIVE_UINT64, block_.data());
    loaded_ = block;
  }

  void validate(uint64_t tokens) {
    uint64_t previous = 0;
    for (uint64_t first = 0; first < column_.size(); first += kBlock) {
      load(first / kBlock);
      first_.push_back(block_[0]);
      for (uint64_t i = 0; i < block_.size(); previous = block_[i++]) {
        const bool rising = first + i == 0 ? block_[i] == 0 : block_[i] > previous;
        hash_ = std::rotl(hash_ ^ block_[i], 27) * 0x9E3779B97F4A7C15u;
        check(rising, "{}[{}] is {} after {}; offsets must begin at 0 and rise", column_.where(),
              first + i, block_[i], previous);
      }
    }
    check(previous == tokens, "{} ends at {}, but there are {} tokens; the file is damaged",
          column_.where(), previous, tokens);
  }

  Column column_;
  uint64_t documents_ = 0, hash_ = 0;
  std::vector<uint64_t> first_;  // of each block
  std::optional<uint64_t> loaded_;
  std::vector<uint64_t> block_;
};

Handle open_group(hid_t file, Split split, const std::string& where) {
  check(H5Lexists(file, split_name(split), H5P_DEFAULT) > 0,
        "{} has no group '{}'; it is not a whole token file", where, split_name(split));
  return Handle(
      checked(H5Gopen2(file, split_name(split), H5P_DEFAULT), "{}/{}", where, split_name(split)));
}

struct SplitReader {
  SplitReader(const Handle& group, size_t cache_bytes, const std::string& where)
      : tokens(group.get(), layout::kTokens, {2, 4}, cache_bytes, where),
        documents(Column(group.get(), layout::kDocumentOffsets, {8}, kOffsetCacheBytes, where),
                  tokens.size()) {
    if (H5Lexists(group.get(), layout::kLossMask, H5P_DEFAULT) <= 0) return;
    mask.emplace(group.get(), layout::kLossMask, std::initializer_list<size_t>{1}, cache_bytes / 2,
                 where);
    check(mask->size() == tokens.size(), "{} has {} elements for {} tokens; the file is damaged",
          mask->where(), mask->size(), tokens.size());
  }

  void read(uint64_t first, std::span<int32_t> out) {
    if (tokens.width() == 4) return tokens.read(first, out.size(), H5T_NATIVE_UINT32, out.data());
    narrow.resize(out.size());
    tokens.read(first, narrow.size(), H5T_NATIVE_UINT16, narrow.data());
    std::ranges::copy(narrow, out.begin());
  }

  Column tokens;
  DocumentIndex documents;
  std::optional<Column> mask;
  std::vector<uint16_t> narrow;
};

}  // namespace

struct TokenFile::Impl {
  Impl(const fs::path& path, size_t cache_bytes)
      : path(path), where(path.string()), file(open_file(path)) {
    const std::string format = read_text(file.get(), layout::kFormat, where);
    check(format == layout::kFormatName, "{} is not a token file: its format is '{}', not '{}'",
          where, format, layout::kFormatName);
    const uint32_t version = read_integer(file.get(), layout::kVersion, where);
    check(version == layout::kFormatVersion || version == layout::kMaskedFormatVersion,
          "{} has token file version {}, this program reads versions {} and {}; prepare it again",
          where, version, layout::kFormatVersion, layout::kMaskedFormatVersion);
    tokenizer_name = read_text(file.get(), layout::kTokenizer, where);
    tokenizer_hash = read_text(file.get(), layout::kTokenizerHash, where);
    tokenizer_json = read_text(file.get(), layout::kTokenizerJson, where);
    vocabulary = read_integer(file.get(), layout::kVocabularySize, where);
    check(vocabulary > 0 && vocabulary <= uint32_t(std::numeric_limits<int32_t>::max()),
          "{}: vocabulary size {} is out of range", where, vocabulary);
    for (Split split : kSplits) {
      splits.emplace_back(open_group(file.get(), split, where), cache_bytes,
                          where + ":" + split_name(split));
    }
  }

  SplitReader& at(Split split) { return splits[size_t(split)]; }

  fs::path path;
  std::string where;
  Handle file;
  std::string tokenizer_name, tokenizer_hash, tokenizer_json;
  uint32_t vocabulary = 0;
  std::vector<SplitReader> splits;
};

TokenFile::TokenFile(const fs::path& path, size_t cache_bytes) {
  const hdf5::Quiet quiet;
  impl_ = std::make_unique<Impl>(path, cache_bytes);
}
TokenFile::~TokenFile() = default;
TokenFile::TokenFile(TokenFile&&) noexcept = default;
TokenFile& TokenFile::operator=(TokenFile&&) noexcept = default;

const fs::path& TokenFile::path() const {
  return impl_->path;
}
uint32_t TokenFile::vocabulary_size() const {
  return impl_->vocabulary;
}
const std::string& TokenFile::tokenizer_name() const {
  return impl_->tokenizer_name;
}
const std::string& TokenFile::tokenizer_hash() const {
  return impl_->tokenizer_hash;
}
const std::string& TokenFile::tokenizer_json() const {
  return impl_->tokenizer_json;
}

std::unique_ptr<Tokenizer> TokenFile::tokenizer() const {
  return restore_tokenizer(impl_->tokenizer_json, impl_->where);
}

uint64_t TokenFile::token_count(Split split) const {
  return impl_->at(split).tokens.size();
}
uint64_t TokenFile::document_count(Split split) const {
  return impl_->at(split).documents.documents();
}

uint64_t TokenFile::document_hash(Split split) const {
  return impl_->at(split).documents.hash();
}

void TokenFile::read(Split split, uint64_t first, std::span<int32_t> out) {
  const hdf5::Quiet quiet;
  Column& tokens = impl_->at(split).tokens;
  check(first <= tokens.size() && out.size() <= tokens.size() - first,
        "{}: tokens {} to {} were asked for, but there are {}", tokens.where(), first,
        first + out.size(), tokens.size());
  impl_->at(split).read(first, out);
  uint32_t highest = 0;
  for (int32_t id : out) highest = std::max(highest, uint32_t(id));
  if (out.empty() || highest < impl_->vocabulary) return;
  const auto bad = std::find(out.begin(), out.end(), int32_t(highest));
  fail("{}[{}] is token id {}, but the file's vocabulary has {} ids; the file is damaged",
       tokens.where(), first + uint64_t(bad - out.begin()), highest, impl_->vocabulary);
}

bool TokenFile::has_loss_mask(Split split) const {
  return impl_->at(split).mask.has_value();
}

void TokenFile::read_loss_mask(Split split, uint64_t first, std::span<uint8_t> out) {
  const hdf5::Quiet quiet;
  std::optional<Column>& mask = impl_->at(split).mask;
  if (!mask) return void(std::ranges::fill(out, uint8_t{1}));
  check(first <= mask->size() && out.size() <= mask->size() - first,
        "{}: elements {} to {} were asked for, but there are {}", mask->where(), first,
        first + out.size(), mask->size());
  mask->read(first, out.size(), H5T_NATIVE_UINT8, out.data());
  const auto bad = std::ranges::find_if(out, [](uint8_t value) { return value > 1; });
  check(bad == out.end(), "{}[{}] is {}, neither 0 nor 1; the file is damaged", mask->where(),
        first + uint64_t(bad - out.begin()), bad == out.end() ? 0 : int(*bad));
}

TokenRange TokenFile::document(Split split, uint64_t index) {
  const hdf5::Quiet quiet;
  DocumentIndex& documents = impl_->at(split).documents;
  check(index < documents.documents(), "{}:{}: document {} was asked for, but there are {}",
        impl_->where, split_name(split), index, documents.documents());
  return documents.document(index);
}

uint64_t TokenFile::document_at(Split split, uint64_t position) {
  const hdf5::Quiet quiet;
  check(position < token_count(split), "{}:{}: token {} was asked for, but there are {}",
        impl_->where, split_name(split), position, token_count(split));
  return impl_->at(split).documents.at(position);
}

void TokenFile::document_starts(Split split, TokenRange range, std::vector<uint64_t>& starts) {
  const hdf5::Quiet quiet;
  if (range.size() == 0 || range.begin >= token_count(split)) return;
  DocumentIndex& documents = impl_->at(split).documents;
  for (uint64_t d = documents.at(range.begin) + 1; d < documents.documents(); ++d) {
    const uint64_t start = documents.offset(d);
    if (start >= range.end) break;
    starts.push_back(start);
  }
}

void check_vocabulary(const TokenFile& file, int64_t model_vocabulary) {
  check(int64_t{file.vocabulary_size()} <= model_vocabulary,
        "{} has a vocabulary of {} ids, but the model has only {}; set model.vocab_size to at "
        "least {}",
        file.path().string(), file.vocabulary_size(), model_vocabulary, file.vocabulary_size());
}

void check_same_tokenizer(const TokenFile& first, const TokenFile& file) {
  check(file.tokenizer_hash() == first.tokenizer_hash(),
        "{} (tokenizer {}, {}) and {} (tokenizer {}, {}) cannot be mixed; prepare both with one "
        "tokenizer",
        first.path().string(), first.tokenizer_name(), first.tokenizer_hash(), file.path().string(),
        file.tokenizer_name(), file.tokenizer_hash());
}

}  // namespace tessera
