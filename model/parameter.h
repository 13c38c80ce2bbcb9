// Parameters: named variables with what the optimizer and the initialiser need to know of them.
#pragma once

#include <string>
#include <vector>

#include "core/autograd/node.h"

namespace tessera {

struct Parameter {
  std::string name;  // "layers.3.mlp.down.weight"
  Var var;           // value in the compute dtype for matrices, f32 for vectors; a leaf
  double init_std;   // normal initialisation; 0: filled with `init_value`
  float init_value = 0;

  const Tensor& value() const { return var.value(); }
  LeafNode& leaf() const { return leaf_of(var); }
  bool is_matrix() const { return value().rank() == 2; }
};

// Fills every parameter by its rule. An element depends on (seed, parameter name, index) alone.
void initialize(Context& ctx, const std::vector<Parameter>& parameters, uint64_t seed);

int64_t parameter_count(const std::vector<Parameter>& parameters);

}  // namespace tessera
