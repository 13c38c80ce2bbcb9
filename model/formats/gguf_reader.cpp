#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "model/formats/gguf_file.h"
#include "model/formats/gguf_layout.h"
#include "model/formats/one_line.h"

namespace tessera {
namespace {

// Bytes of a value of each type; 0 for those of varying length.
constexpr std::array<uint64_t, 13> kSizes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

// Goes through the bytes and never beyond them.
class Cursor {
 public:
  Cursor(std::span<const std::byte> file, const std::string& where) : file_(file), where_(where) {}

  uint64_t position() const { return at_; }
  uint64_t left() const { return file_.size() - at_; }
  const std::string& where() const { return where_; }

  std::span<const std::byte> bytes(uint64_t size) {
    check(size <= left(), "{}: it is cut off, or damaged at byte {}", where_, at_);
    at_ += size;
    return file_.subspan(at_ - size, size);
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view text() {
    const auto part = bytes(number<uint64_t>());
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  // A key or a tensor's name, which errors show.
  std::string_view name() {
    const std::string_view name = text();
    check(is_one_line(name),
          "{}: a name that ends at byte {} has control characters: it is damaged", where_, at_);
    return name;
  }
  // A count of things of at least `size` bytes each.
  uint64_t count(uint64_t size) {
    const auto value = number<uint64_t>();
    check(value <= left() / size, "{}: it claims {} entries at byte {}: it is damaged", where_,
          value, at_);
    return value;
  }

 private:
  std::span<const std::byte> file_;
  const std::string& where_;
  uint64_t at_ = 0;
};

GgufType read_type(Cursor& cursor) {
  const auto type = cursor.number<uint32_t>();
  check(type < kSizes.size(), "{}: metadata type {} at byte {} is not known", cursor.where(), type,
        cursor.position());
  return GgufType(type);
}

GgufArray read_array(Cursor& cursor) {
  const GgufType type = read_type(cursor);
  check(type != GgufType::array, "{}: an array of arrays at byte {} is not supported",
        cursor.where(), cursor.position());
  const uint64_t size = kSizes[size_t(type)];
  const uint64_t count = cursor.count(size > 0 ? size : sizeof(uint64_t));
  if (size > 0) return {type, count, cursor.bytes(count * size)};
  Cursor walk = cursor;
  for (uint64_t i = 0; i < count; ++i) walk.text();
  return {type, count, cursor.bytes(walk.position() - cursor.position())};
}

GgufValue read_value(Cursor& cursor, GgufType type) {
  switch (type) {
    case GgufType::u8:
      return int64_t{cursor.number<uint8_t>()};
    case GgufType::i8:
      return int64_t{cursor.number<int8_t>()};
    case GgufType::u16:
      return int64_t{cursor.number<uint16_t>()};
    case GgufType::i16:
      return int64_t{cursor.number<int16_t>()};
    case GgufType::u32:
      return int64_t{cursor.number<uint32_t>()};
    case GgufType::i32:
      return int64_t{cursor.number<int32_t>()};
    case GgufType::u64:  // a value above int64's largest becomes negative, which no key may have
    case GgufType::i64:
      return cursor.number<int64_t>();
    case GgufType::f32:
      return double{cursor.number<float>()};
    case GgufType::f64:
      return cursor.number<double>();
    case GgufType::boolean:
      return cursor.number<uint8_t>() != 0;
    case GgufType::text:
      return cursor.text();
    case GgufType::array:
      return read_array(cursor);
  }
  fail("{}: metadata of a type that is not known", cursor.where());
}

// A tensor's description, as the file has it.
struct Entry {
  std::string_view name;
  std::vector<int64_t> dims;  // outermost first
  uint32_t type = 0;
  uint64_t offset = 0;  // from the beginning of the data
};

Entry read_entry(Cursor& cursor) {
  Entry entry{.name = cursor.name()};
  const auto rank = cursor.number<uint32_t>();
  check(rank <= gguf::kMostDimensions, "{}: tensor {} has {} dimensions; at most {}",
        cursor.where(), entry.name, rank, gguf::kMostDimensions);
  for (uint32_t i = 0; i < rank; ++i) entry.dims.push_back(cursor.number<int64_t>());
  std::ranges::reverse(entry.dims);
  entry.type = cursor.number<uint32_t>();
  entry.offset = cursor.number<uint64_t>();
  return entry;
}

StoredType type_of(const Entry& entry, const std::string& where) {
  for (const gguf::TypeRow& row : gguf::kTypes)
    if (row.number == entry.type) return row.type;
  fail("{}: tensor {} has type {}; F32 (0), F16 (1), Q8_0 (8) and BF16 (30) are supported", where,
       entry.name, entry.type);
}

StoredTensor tensor_of(const Entry& entry, std::span<const std::byte> data, uint64_t alignment,
                       const std::string& where) {
  const StoredType type = type_of(entry, where);
  const auto elements = element_count(entry.dims);
  const bool blocks = type != StoredType::q8_0 ||
                      (entry.dims.size() > 1 && entry.dims.back() % kQ8BlockElements == 0);
  const auto size = elements && blocks ? stored_bytes(type, *elements) : std::nullopt;
  check(size.has_value(), "{}: tensor {} of shape [{}] cannot be {}", where, entry.name,
        fmt::join(entry.dims, ", "), name_of(type));
  const size_t bytes = size.value_or(0);
  check(entry.offset % alignment == 0 && entry.offset <= data.size() &&
            bytes <= data.size() - entry.offset,
        "{}: tensor {} does not lie within the file: it is cut off or damaged", where, entry.name);
  return {std::string(entry.name), Shape(entry.dims), type, data.subspan(entry.offset, bytes)};
}

// Only padding may lie between the tensors.
void check_no_holes(std::span<const StoredTensor> tensors, std::span<const std::byte> data,
                    uint64_t alignment, const std::string& where) {
  uint64_t end = 0;
  for (const StoredTensor& tensor : tensors) {
    const auto begin = uint64_t(tensor.bytes.data() - data.data());
    check(begin == gguf::aligned(end, alignment),
          "{}: tensor {} begins at {} where the one before ends at {}", where, tensor.name, begin,
          end);
    end = begin + tensor.bytes.size();
  }
  check(data.size() <= gguf::aligned(end, alignment), "{}: {} bytes after its last tensor", where,
        data.size() - end);
}

uint64_t alignment_of(const GgufFile& file, const std::string& where) {
  const auto found = file.metadata.find("general.alignment");
  if (found == file.metadata.end()) return gguf::kAlignment;
  const int64_t* value = std::get_if<int64_t>(&found->second);
  const bool good = value && *value > 0 && *value <= 65536 && std::has_single_bit(uint64_t(*value));
  check(good, "{}: general.alignment is not a power of 2 up to 65536", where);
  return uint64_t(*value);
}

}  // namespace

GgufFile parse_gguf(std::span<const std::byte> file, const std::string& where) {
  Cursor cursor(file, where);
  check(
      file.size() >= sizeof(gguf::kMagic) && std::memcmp(cursor.bytes(sizeof(gguf::kMagic)).data(),
                                                         gguf::kMagic, sizeof(gguf::kMagic)) == 0,
      "{}: it is no GGUF file", where);
  const auto version = cursor.number<uint32_t>();
  check(version >= gguf::kOldestVersion && version <= gguf::kVersion,
        "{}: its GGUF version is {}; {} and {} are supported", where, version, gguf::kOldestVersion,
        gguf::kVersion);
  const uint64_t tensors = cursor.count(24), keys = cursor.count(13);  // bytes of the shortest
  GgufFile parsed;
  for (uint64_t i = 0; i < keys; ++i) {
    const std::string key(cursor.name());
    const GgufType type = read_type(cursor);
    check(parsed.metadata.emplace(key, read_value(cursor, type)).second,
          "{}: metadata key {} comes twice", where, key);
  }
  std::vector<Entry> entries;
  for (uint64_t i = 0; i < tensors; ++i) entries.push_back(read_entry(cursor));
  const uint64_t alignment = alignment_of(parsed, where);
  const uint64_t begin =
      std::min<uint64_t>(gguf::aligned(cursor.position(), alignment), file.size());
  const std::span<const std::byte> data = file.subspan(begin);
  for (const Entry& entry : entries)
    parsed.tensors.push_back(tensor_of(entry, data, alignment, where));
  std::ranges::sort(parsed.tensors, [](const StoredTensor& a, const StoredTensor& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  check_no_holes(parsed.tensors, data, alignment, where);
  return parsed;
}

}  // namespace tessera
