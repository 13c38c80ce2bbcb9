#include "model/formats/file_weights.h"

#include <unordered_map>

namespace tessera {
namespace {

bool contains(std::span<const std::byte> whole, std::span<const std::byte> part) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

}  // namespace

FileWeights::FileWeights(StoredModel stored, const std::vector<MappedTensor>& map,
                         const std::function<bool(const std::string&)>& ignored)
    : stored_(std::move(stored)) {
  std::unordered_map<std::string_view, const StoredTensor*> by_name;
  for (const StoredTensor& tensor : stored_.tensors) {
    check(by_name.emplace(tensor.name, &tensor).second, "{}: two tensors have the name {}",
          stored_.where, tensor.name);
  }
  for (const MappedTensor& wanted : map) {
    const auto found = by_name.find(wanted.name);
    check(found != by_name.end(),
          "{}: tensor {} is missing: the file is incomplete, or its configuration is another "
          "model's",
          stored_.where, wanted.name);
    const StoredTensor& tensor = *found->second;
    check(tensor.shape == wanted.shape, "{}: tensor {} has shape {}, its configuration says {}",
          stored_.where, wanted.name, tensor.shape, wanted.shape);
    std::vector<Part>& parts = parts_[wanted.parameter];
    if (parts.empty()) {
      weights_.push_back({wanted.parameter, wanted.shape, tensor.type});
    } else {
      WeightInfo& info = weights_.back();
      check(info.name == wanted.parameter, "{}: parts of {} are apart", stored_.where, info.name);
      info.shape[0] += wanted.shape[0];
    }
    parts.push_back({wanted, tensor});
    by_name.erase(found);
  }
  for (const auto& [name, tensor] : by_name) {
    check(ignored(tensor->name),
          "{}: tensor {} {} has no place in a model of its configuration, which this program "
          "would lose",
          stored_.where, name, tensor->shape);
  }
}

void FileWeights::read_rows(const std::string& name, int64_t first, int64_t rows,
                            float* into) const {
  const auto found = parts_.find(name);
  check(found != parts_.end(), "{}: there is no weight {}", stored_.where, name);
  for (const Part& part : found->second) {
    const int64_t begin = std::max(first, part.map.first_row);
    const int64_t end = std::min(first + rows, part.map.first_row + part.map.shape[0]);
    if (begin >= end) continue;
    const int64_t row_elements = part.map.shape.elements() / part.map.shape[0];
    read_part(part, begin - part.map.first_row, end - begin, into + (begin - first) * row_elements);
  }
}

void FileWeights::read_part(const Part& part, int64_t first, int64_t rows, float* into) const {
  const int64_t row_elements = part.map.shape.elements() / part.map.shape[0];
  const size_t row_bytes = part.tensor.bytes.size() / size_t(part.map.shape[0]);
  const auto read = [&](int64_t file_row, int64_t count, float* to) {
    decode(part.tensor.type, part.tensor.bytes.data() + size_t(file_row) * row_bytes,
           std::span(to, size_t(count * row_elements)));
  };
  if (part.map.interleaved_head == 0) {
    read(first, rows, into);
  } else {
    for (int64_t row = 0; row < rows; ++row)
      read(part.map.file_row(first + row), 1, into + row * row_elements);
  }
  const auto done = part.tensor.bytes.subspan(size_t(first) * row_bytes, size_t(rows) * row_bytes);
  for (const auto& file : stored_.files)
    if (contains(file->bytes(), done)) file->release(done);
}

}  // namespace tessera
