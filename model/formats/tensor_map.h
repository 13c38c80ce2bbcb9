// How the tensors of a format lie in our parameters, which join queries, keys and values, and the
// gated MLP's two inputs, by rows.
#pragma once

#include <string>
#include <vector>

#include "core/shape.h"
#include "model/config.h"

namespace tessera {

// The file's tensor `name` is rows [first_row, first_row + shape[0]) of `parameter`.
struct MappedTensor {
  std::string name;
  Shape shape;
  std::string parameter;
  int64_t first_row = 0;
  // RoPE turns element j of a head with element j + D/2 here. Files that turn neighbours 2j and
  // 2j + 1 have the rows of every head of this many (D) rows in that order; 0: as here.
  int64_t interleaved_head = 0;

  // The parameter's row that is the file's row `row`.
  int64_t parameter_row(int64_t row) const;
  // The file's row that is row `row` of this part of the parameter.
  int64_t file_row(int64_t row) const;
};

// Names of a format; those of a layer follow layer_prefix, whose {} is the layer's number.
struct TensorNames {
  const char *embedding, *final_norm, *head, *layer_prefix;
  const char *attention_norm, *q, *k, *v, *attention_output, *q_norm, *k_norm;
  const char *mlp_norm, *gate, *up, *down;
};

extern const TensorNames kHuggingFaceNames, kGgufNames, kLlama2cNames;

// Every tensor of a completed configuration, in the order of the layers. `interleaved`: rows of
// queries and keys turn neighbours.
std::vector<MappedTensor> tensor_map(const ModelConfig& config, const TensorNames& names,
                                     bool interleaved);

// How many tensors tensor_map() gives.
int64_t mapped_tensor_count(const ModelConfig& config);

}  // namespace tessera
