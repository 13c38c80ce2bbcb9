// The models of tests/golden/formats.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/formats/tensor_map.h"
#include "model/formats/weight_source.h"

namespace tessera::test {

inline std::filesystem::path golden_folder() {
  return std::filesystem::path(TESSERA_SOURCE_DIR) / "tests/golden/formats";
}

inline const std::vector<std::string>& golden_names() {
  static const std::vector<std::string> names = {"llama",      "llama_tied",   "llama_linear",
                                                 "llama_yarn", "llama_llama3", "mistral",
                                                 "qwen2",      "qwen3"};
  return names;
}

// The legacy .bin of llama2.c of a model: the same tensors, rows of queries and keys as neighbours.
inline std::string llama2c_file(const ModelConfig& model, const WeightSource& weights) {
  const int32_t vocabulary = int32_t(model.tied_embeddings ? model.vocab_size : -model.vocab_size);
  const int32_t sizes[] = {int32_t(model.width),  int32_t(model.ffn_width), int32_t(model.layers),
                           int32_t(model.heads),  int32_t(model.kv_heads),  vocabulary,
                           int32_t(model.context)};
  std::string file(reinterpret_cast<const char*>(sizes), sizeof(sizes));
  const auto append = [&](const MappedTensor& tensor) {
    const int64_t row_elements = tensor.shape.elements() / tensor.shape[0];
    std::vector<float> row(static_cast<size_t>(row_elements));
    for (int64_t i = 0; i < tensor.shape[0]; ++i) {
      weights.read_rows(tensor.parameter, tensor.parameter_row(i), 1, row.data());
      file.append(reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float));
    }
  };
  const std::vector<MappedTensor> map = tensor_map(model, kLlama2cNames, true);
  const auto append_all = [&](const std::string& ending) {
    for (const MappedTensor& tensor : map)
      if (tensor.name.ends_with(ending)) append(tensor);
  };
  for (const char* ending : {"token_embedding_table.weight", ".rms_att.weight", ".wq.weight",
                             ".wk.weight", ".wv.weight", ".wo.weight", ".rms_ffn.weight",
                             ".w1.weight", ".w2.weight", ".w3.weight", "rms_final.weight"})
    append_all(ending);
  file.append(size_t(model.context * model.head_dim) * sizeof(float), '\0');
  append_all("wcls.weight");
  return file;
}

}  // namespace tessera::test
