#include "model/formats/weight_source.h"

#include <algorithm>

#include "core/transfer.h"

namespace tessera {
namespace {

template <class T>
void upload_rounded(const Tensor& into, std::span<const float> values) {
  std::vector<T> rounded(values.size());
  std::transform(values.begin(), values.end(), rounded.begin(), from_float<T>);
  upload(into, rounded.data());
}

void upload_as(const Tensor& into, std::span<const float> values) {
  switch (into.dtype()) {
    case DType::f32:
      return upload(into, values.data());
    case DType::f64:
      return upload_rounded<double>(into, values);
    case DType::f16:
      return upload_rounded<f16>(into, values);
    case DType::bf16:
      return upload_rounded<bf16>(into, values);
    default:
      fail("weights cannot be read as {}; use f32, f64, f16 or bf16", into.dtype());
  }
}

}  // namespace

int64_t rows_of_block(int64_t row_elements) {
  constexpr int64_t kBlockElements = 1 << 20;
  return std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, row_elements));
}

void read_weight(const WeightSource& source, const WeightInfo& info, const Tensor& into) {
  check(into.shape() == info.shape, "weight {} has shape {}, the model needs {}", info.name,
        info.shape, into.shape());
  if (into.device() == Device::meta || into.elements() == 0) return;
  const int64_t rows = into.shape(0), row_elements = into.elements() / rows;
  const int64_t block = std::min(rows, rows_of_block(row_elements));
  std::vector<float> values(size_t(block * row_elements));
  for (int64_t first = 0; first < rows; first += block) {
    const int64_t count = std::min(block, rows - first);
    source.read_rows(info.name, first, count, values.data());
    upload_as(into.slice(0, first, first + count),
              std::span(values).first(size_t(count * row_elements)));
  }
}

}  // namespace tessera
