#include "train/convert/checkpoint_weights.h"

namespace tessera {
namespace {

constexpr std::string_view kPrefix = "model/";

}  // namespace

CheckpointWeights::CheckpointWeights(CheckpointReader reader) : reader_(std::move(reader)) {
  for (const TensorInfo& info : reader_.tensors()) {
    if (!info.name.starts_with(kPrefix)) continue;
    check(info.dtype == DType::f32 && info.shape.rank() > 0 && info.shape.elements() > 0,
          "{}: tensor {} is {} {}; weights are stored as f32", reader_.directory().string(),
          info.name, info.dtype, info.shape);
    weights_.push_back({info.name.substr(kPrefix.size()), info.shape, StoredType::f32});
  }
}

void CheckpointWeights::read_rows(const std::string& name, int64_t first, int64_t rows,
                                  float* into) const {
  reader_.read_rows(std::string(kPrefix) + name, first, rows, reinterpret_cast<std::byte*>(into));
}

}  // namespace tessera
