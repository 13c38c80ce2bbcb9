// What the tests of conversion share: logits of models, and how they are compared.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "core/transfer.h"
#include "model/formats/safetensors.h"
#include "model/kv_cache.h"
#include "tests/data/support.h"
#include "tests/model/formats/golden.h"
#include "train/load_model.h"

namespace tessera::test {

// Logits after each of `tokens` tokens, [tokens, V]; the tokens are make_golden.py's.
inline std::vector<float> logits_of(Context& ctx, const Llama& model, int64_t tokens) {
  const int64_t V = model.config().vocab_size;
  KvCache cache(ctx, model.config(), tokens, model.options().dtype);
  std::vector<float> all;
  for (int64_t i = 0; i < tokens; ++i) {
    const std::vector<int32_t> token = {int32_t((5 + 7 * i + i * i) % V)};
    const auto logits = to_vector<float>(model.next_logits(ctx, int_tensor(ctx, token), cache));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

inline std::vector<float> expected_logits(const std::filesystem::path& folder) {
  const MappedFile file(folder / "expected.safetensors");
  const std::vector<StoredTensor> tensors = parse_safetensors(file.bytes(), file.path().string());
  std::vector<float> logits(size_t(tensors.at(0).shape.elements()));
  decode(tensors[0].type, tensors[0].bytes.data(), logits);
  return logits;
}

// The largest difference over the largest magnitude.
inline double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = a.size() == b.size() ? 0 : INFINITY, largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference = std::max(difference, std::abs(double(a[i]) - b[i]));
    largest = std::max(largest, std::abs(double(b[i])));
  }
  return difference / largest;
}

}  // namespace tessera::test
