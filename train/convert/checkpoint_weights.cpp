#include "train/convert/checkpoint_weights.h"

#include <algorithm>

namespace tessera {
namespace {

constexpr std::string_view kPrefix = "model/";

}  // namespace

CheckpointWeights::CheckpointWeights(CheckpointReader reader) : reader_(std::move(reader)) {
  for (const TensorInfo& info : reader_.tensors()) {
    if (!info.name.starts_with(kPrefix)) continue;
    const bool is_bf16 = info.dtype == DType::bf16;  // trained without master weights
    check(
        (info.dtype == DType::f32 || is_bf16) && info.shape.rank() > 0 && info.shape.elements() > 0,
        "{}: tensor {} is {} {}; weights are stored as f32 or bf16", reader_.directory().string(),
        info.name, info.dtype, info.shape);
    weights_.push_back({info.name.substr(kPrefix.size()), info.shape,
                        is_bf16 ? StoredType::bf16 : StoredType::f32});
  }
}

void CheckpointWeights::read_rows(const std::string& name, int64_t first, int64_t rows,
                                  float* into) const {
  const auto found = std::find_if(weights_.begin(), weights_.end(),
                                  [&](const WeightInfo& info) { return info.name == name; });
  const bool is_bf16 = found != weights_.end() && found->type == StoredType::bf16;
  const int64_t elements = is_bf16 ? rows * found->shape.elements() / found->shape[0] : 0;
  std::vector<bf16> narrow(static_cast<size_t>(elements));
  reader_.read_rows(
      std::string(kPrefix) + name, first, rows,
      is_bf16 ? reinterpret_cast<std::byte*>(narrow.data()) : reinterpret_cast<std::byte*>(into));
  for (size_t i = 0; i < narrow.size(); ++i) into[i] = to_float(narrow[i]);
}

}  // namespace tessera
