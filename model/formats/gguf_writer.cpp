#include <array>

#include "model/formats/gguf_file.h"
#include "model/formats/gguf_layout.h"

namespace tessera {
namespace {

const gguf::TypeRow& row_of(StoredType type) {
  return *std::ranges::find(gguf::kTypes, type, &gguf::TypeRow::type);
}

template <class T>
constexpr GgufType type_of_value() {
  if constexpr (std::is_same_v<T, uint8_t>) return GgufType::u8;
  if constexpr (std::is_same_v<T, uint32_t>) return GgufType::u32;
  if constexpr (std::is_same_v<T, int32_t>) return GgufType::i32;
  if constexpr (std::is_same_v<T, float>) return GgufType::f32;
  if constexpr (std::is_same_v<T, bool>) return GgufType::boolean;
  return GgufType::text;
}

// The part of the file before the tensors' bytes.
class Header {
 public:
  template <class T>
  void number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void text(std::string_view text) {
    number(uint64_t(text.size()));
    text_ += text;
  }
  void field(const std::string& key, const GgufField& field) {
    text(key);
    std::visit([this](const auto& value) { this->typed(value); }, field);
  }
  // Dimensions go innermost first.
  void tensor(std::string_view name, const Shape& shape, StoredType type, uint64_t offset) {
    text(name);
    number(uint32_t(shape.rank()));
    for (int i = shape.rank() - 1; i >= 0; --i) number(uint64_t(shape[i]));
    number(row_of(type).number);
    number(offset);
  }
  std::string padded() const {
    std::string text = text_;
    text.resize(gguf::aligned(text.size(), gguf::kAlignment), '\0');
    return text;
  }

 private:
  template <class T>
  void value(const T& value) {
    number(value);
  }
  void value(const std::string& value) { text(value); }
  void value(bool value) { number(uint8_t(value)); }

  template <class T>
  void typed(const T& one) {
    number(type_of_value<T>());
    value(one);
  }
  template <class T>
  void typed(const std::vector<T>& many) {
    number(GgufType::array);
    number(type_of_value<T>());
    number(uint64_t(many.size()));
    for (const T& one : many) value(one);
  }

  std::string text_;
};

StoredType type_in_file(const MappedTensor& tensor, StoredType type) {
  return tensor.shape.rank() == 1 ? StoredType::f32 : type;
}

std::string make_header(const GgufMetadata& metadata, const std::vector<GgufExtra>& extras,
                        const std::vector<MappedTensor>& map, StoredType type) {
  Header header;
  for (char letter : gguf::kMagic) header.number(letter);
  header.number(gguf::kVersion);
  header.number(uint64_t(extras.size() + map.size()));
  header.number(uint64_t(metadata.size() + 1));
  header.field("general.file_type", row_of(type).file_type);
  for (const auto& [key, field] : metadata) header.field(key, field);
  uint64_t offset = 0;
  const auto next = [&offset](uint64_t bytes) {
    return std::exchange(offset, gguf::aligned(offset + bytes, gguf::kAlignment));
  };
  for (const GgufExtra& extra : extras) {
    header.tensor(extra.name, {int64_t(extra.values.size())}, StoredType::f32,
                  next(extra.values.size() * sizeof(float)));
  }
  for (const MappedTensor& tensor : map) {
    const StoredType stored = type_in_file(tensor, type);
    header.tensor(tensor.name, tensor.shape, stored, next(written_bytes(tensor, stored)));
  }
  return header.padded();
}

}  // namespace

uint64_t write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                    const std::vector<GgufExtra>& extras, const WeightSource& source,
                    const std::vector<MappedTensor>& map, StoredType type,
                    const WriteProgress& progress) {
  File file = File::create(path);
  const std::string header = make_header(metadata, extras, map, type);
  write_bytes(file, 0, std::as_bytes(std::span(header)));
  uint64_t offset = header.size(), written = 0;
  const auto advance = [&](uint64_t bytes) {
    constexpr std::array<std::byte, gguf::kAlignment> kZeros{};
    const uint64_t end = gguf::aligned(offset + bytes, gguf::kAlignment);
    write_bytes(file, offset + bytes, std::span(kZeros).first(end - offset - bytes));
    offset = end;
    written += bytes;
  };
  for (const GgufExtra& extra : extras) {
    const auto bytes = std::as_bytes(std::span(extra.values));
    write_bytes(file, offset, bytes);
    advance(bytes.size());
  }
  for (const MappedTensor& tensor : map) {
    const StoredType stored = type_in_file(tensor, type);
    write_tensor(file, offset, source, tensor, stored, progress);
    advance(written_bytes(tensor, stored));
  }
  file.sync();
  file.close();
  return written;
}

}  // namespace tessera
