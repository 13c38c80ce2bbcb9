// Weights of our own checkpoints.
#pragma once

#include "model/formats/weight_source.h"
#include "train/checkpoint/checkpoint.h"

namespace tessera {

// The master weights: tensors "model/NAME". Each is verified when its first row is read.
class CheckpointWeights final : public WeightSource {
 public:
  explicit CheckpointWeights(CheckpointReader reader);

  const CheckpointReader& reader() const { return reader_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  void read_rows(const std::string& name, int64_t first, int64_t rows, float* into) const override;

 private:
  CheckpointReader reader_;
  std::vector<WeightInfo> weights_;
};

}  // namespace tessera
