#include "model/formats/write_tensor.h"

#include <algorithm>

namespace tessera {
namespace {

int64_t row_elements_of(const MappedTensor& tensor) {
  return tensor.shape.elements() / tensor.shape[0];
}

// Rows [first, first + rows) of the file's tensor; of whole heads where their order is another one.
void read_file_rows(const WeightSource& source, const MappedTensor& tensor, int64_t first,
                    int64_t rows, std::span<float> into) {
  const int64_t begin = tensor.first_row + first;
  if (tensor.interleaved_head == 0) {
    source.read_rows(tensor.parameter, begin, rows, into.data());
    return;
  }
  const int64_t row_elements = row_elements_of(tensor);
  std::vector<float> ordered(into.size());
  source.read_rows(tensor.parameter, begin, rows, ordered.data());
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t from = tensor.parameter_row(first + row) - begin;
    std::copy_n(ordered.data() + from * row_elements, row_elements,
                into.data() + row * row_elements);
  }
}

// Rows at a time: whole heads where their order is another one.
int64_t block_rows_of(const MappedTensor& tensor) {
  const int64_t rows = rows_of_block(row_elements_of(tensor)), head = tensor.interleaved_head;
  if (head == 0) return std::min(rows, tensor.shape[0]);
  return std::min(std::max(head, rows / head * head), tensor.shape[0]);
}

}  // namespace

uint64_t written_bytes(const MappedTensor& tensor, StoredType type) {
  check(type != StoredType::q8_0 || row_elements_of(tensor) % kQ8BlockElements == 0,
        "tensor {} has rows of {} elements; q8_0 needs a multiple of {}: use f16 or bf16",
        tensor.name, row_elements_of(tensor), kQ8BlockElements);
  return *stored_bytes(type, tensor.shape.elements());
}

void write_bytes(const File& file, uint64_t offset, std::span<const std::byte> bytes) {
  const std::error_code error = file.write_at(offset, bytes);
  check(!error, "cannot write {}: {}", file.path().string(), error.message());
}

void write_tensor(const File& file, uint64_t offset, const WeightSource& source,
                  const MappedTensor& tensor, StoredType type, const WriteProgress& progress) {
  const int64_t rows = tensor.shape[0], row_elements = row_elements_of(tensor);
  const int64_t block = block_rows_of(tensor);
  const uint64_t row_bytes = written_bytes(tensor, type) / uint64_t(rows);
  std::vector<float> values(size_t(block * row_elements));
  std::vector<std::byte> bytes(size_t(block) * row_bytes);
  for (int64_t first = 0; first < rows; first += block) {
    const int64_t count = std::min(block, rows - first);
    const auto block_values = std::span(values).first(size_t(count * row_elements));
    const auto block_bytes = std::span(bytes).first(size_t(count) * row_bytes);
    read_file_rows(source, tensor, first, count, block_values);
    encode(type, block_values, block_bytes.data());
    write_bytes(file, offset, block_bytes);
    offset += block_bytes.size();
    progress(block_bytes.size());
  }
}

}  // namespace tessera
