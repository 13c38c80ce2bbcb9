// Keys and values of the tokens that a generating model has seen.
#pragma once

#include <vector>

#include "core/context.h"
#include "model/config.h"

namespace tessera {

class KvCache {
 public:
  // Room for `capacity` tokens of one sequence.
  KvCache(Context& ctx, const ModelConfig& config, int64_t capacity, DType dtype);

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }
  void advance(int64_t tokens) { length_ += tokens; }
  void clear() { length_ = 0; }

  // [capacity, Hkv * D] of one layer.
  const Tensor& keys(int layer) const { return keys_[size_t(layer)]; }
  const Tensor& values(int layer) const { return values_[size_t(layer)]; }

 private:
  int64_t capacity_, length_ = 0;
  std::vector<Tensor> keys_, values_;
};

}  // namespace tessera
